// Package wiring tests the parts together. The same samples go through every
// way they can be wired – a head, a block shipped to a bucket, the fan-out over
// both, each behind the StoreAPI over gRPC, dedup around it – and PromQL has to give
// the same answers; Prometheus' own promqltest scripts run over the head and over the
// bucket, here and behind gRPC; two complete instances live in one process; and
// tenants come and go while the shipper works against a bucket that fails.
//
// The package has no code besides its tests.
package wiring
