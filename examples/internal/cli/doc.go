// Package cli holds what the example programs share and a host has already:
// flag types in Thanos' notation, a logger, and an HTTP server that ends in
// good order.
package cli
