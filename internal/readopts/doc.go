// Package readopts carries the options of one read request in its context:
// the HTTP API sets them, and dedup, the fan-out and the stores read them.
// Prometheus' storage.SelectHints has no room for them, and one value in the
// context beats a parameter on every layer in between.
//
// Hosts reach it as query.ReadOptions.
package readopts
