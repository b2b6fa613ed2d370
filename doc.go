// Package varve is the root of a library for long-term Prometheus storage. It
// holds no code of its own: programs import the packages below it and wire them
// into their own servers.
//
// # The one idea
//
// Whatever holds series is a storage.ChunkQueryable, Prometheus' own interface:
// the heads, the blocks in a bucket, the fan-out over them, the dedup around
// that, and whatever a host brings. Powers beyond the interface are optional
// interfaces found by type assertion, declared by those who use them, and
// without them everything still works, only slower.
//
//	write   remote write ──► receive.Handler ──► receive.Tenants ──► block.Shipper ──► bucket
//	                                             a head TSDB a tenant
//	read    HTTP API ──► PromQL engine ──► dedup.Queryable ──► query.Fanout ──┬─► receive.Tenants
//	                                                                          ├─► store.Bucket
//	                                                                          └─► the host's own
//
// # The packages
//
//	receive    samples in: the remote-write handler, and Tenants, the heads
//	block      what a block is, and how it gets into and out of a bucket
//	objstore   the bucket: configuration, providers, metrics, retries
//	store      the blocks in a bucket as a ChunkQueryable
//	query      the fan-out, the engine, Prometheus' HTTP API
//	dedup      replicas of a series become one series
//
// Imports point one way: objstore ← block ← store; receive, query and dedup know
// no sibling. Two seams have exported conformance suites, objstore/objstoretest
// for buckets and query/querytest for ChunkQueryables.
//
// # What holds everywhere
//
//   - Constructors take collaborators as arguments and settings as one Options
//     value, whose zero value is the default, and start nothing. Run(ctx) does,
//     returns nil once ctx is done, and repeats a single pass that can be called
//     alone: Compact, Ship, Sync.
//   - A nil logger is silent and a nil registerer works. Nothing is global: two
//     of everything work in one process. Close, where there is one, takes the
//     metrics off their registry. To replace what has none, as after a change of
//     its configuration, give each generation of handlers, engine, Shipper and
//     Fetcher a prometheus.Registry of its own, and serve the
//     prometheus.Gatherers of those that are in use.
//   - Errors name the tenant, block, object or series they are about, and answer
//     to errors.Is and errors.As. What input, a full disk or a broken object can
//     cause is an error, never a panic.
//   - Ranges of reads are inclusive at both ends, ranges of blocks exclude their
//     end; milliseconds appear only where Prometheus' interfaces have them.
//   - A write that was acknowledged is in the write-ahead log of a head. A block
//     is in the bucket once its meta.json is, which goes up last.
//   - A read fails rather than answer in part, unless it asked for that; then
//     warnings say what is missing.
//
// # Stability
//
// Until version 1 everything may change. The formats on disk and in the bucket
// are Prometheus' and Thanos' and will not.
package varve
