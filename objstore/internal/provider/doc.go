// Package provider is what the packages of the providers share: strict
// configuration, a logger for clients that speak go-kit, and a bucket that holds
// a client of thanos-io/objstore to the contract of package objstore where it
// falls short on its own.
package provider
