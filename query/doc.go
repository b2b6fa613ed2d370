// Package query answers PromQL, and the Prometheus HTTP API, over anything that
// is a storage.ChunkQueryable: head databases, blocks in a bucket, remote
// stores, or what a host brings.
//
// # Path of a read
//
//	Handler ──► engine ──► Samples ──► (dedup) ──► Fanout ──► sources
//	   └──────── labels, series ─────────▲
//
// Handler parses a request and puts its ReadOptions in the context, where every
// layer below finds them. NewEngine makes Prometheus' own PromQL engine; any
// other promql.QueryEngine will do. Samples turns the chunks of a source into
// the samples an engine wants. Fanout makes many sources one. Deduplication of
// replicas is a ChunkQueryable of its own; it wraps the Fanout, since replicas
// may sit in different sources.
//
// # Sources
//
// Select of a source returns series in label order, whatever it is asked, each
// present if it has a chunk that overlaps the inclusive range. Its chunks come
// ordered by MinTime, may reach out of the range, and stay valid until the
// querier is closed. The package querytest holds the whole contract as a test.
//
// A source may have more methods, found by type assertion. Without them
// everything works, only slower or with less to see:
//
//   - Streams(yield func(external labels.Labels, mint, maxt int64) bool): what
//     it holds now, one call for each set of external labels, with an inclusive
//     range in milliseconds. A Fanout leaves out a source none of whose streams
//     can match, and an error can say what is missing. It is asked for each
//     querier and has to be cheap.
//   - ChunkQuerierWithout(mint, maxt int64, without []string): a querier whose
//     results lack some labels and are sorted by the rest. A source that has
//     none is sorted here, in memory.
//   - ExemplarQuerier (storage.ExemplarQueryable) and
//     MetricMetadata(ctx, metric, limit): for those two endpoints.
//   - String(): its name in errors and warnings.
//
// # Failing in part
//
// A read is strict unless it says otherwise: the first source that fails ends
// it, with a *SourceError that names the source. With ReadOptions.Partial, the
// failure is a warning instead, the same *SourceError, which lists the streams
// and times that are missing, and the answer has all the rest. The end of the
// request itself, by cancellation or deadline, always is an error. A source that
// panics has failed.
//
// Warnings never get lost on the way: Samples fetches the chunks of a series
// before it hands it to the engine, because the engine asks for warnings once it
// has all series and before it reads their samples. Answers with warnings other
// than about the query itself are marked not to be cached.
//
// # Overlaps
//
// A head and the block cut from it hold the same chunks for a while. Fanout
// merges chunks without decoding them: equal ones come once, others are all
// there, in order. Samples puts the chunks of a series in layers that do not
// overlap themselves and merges the layers, each timestamp once. The usual
// series is one layer, and is read chunk by chunk with one iterator.
//
// Where one source has downsampled what another still has raw, Fanout leaves out
// the samples of windows that finer chunks cover, since to add both up would count
// twice. Counters it follows through the chunks of all sources: see
// package aggrchunk.
//
// # Errors
//
// The API maps errors to Prometheus' error types by what they are, never by
// their text. Storage errors may have methods that say what they are:
//
//   - Unavailable() bool: cannot answer yet. 503, unavailable.
//   - LimitExceeded() bool: the query is too big. 422, execution.
//   - Overloaded() (retryAfter time.Duration, yes bool): the query may pass later.
//     429 with Retry-After, unavailable.
//
// Of errors that are joined the final counts before the busy, and that before the
// one that is not available.
//
// What says so in another process comes back as such an error by package
// store/storeapi, so that it is the same here as there.
//
// context.DeadlineExceeded is 503, timeout; context.Canceled is 499, canceled;
// the rest is 422, execution, as in Prometheus. A panic is 500, internal.
//
// # What a query costs, and may cost
//
// Each request has a Cost in its context: stores note there what they fetch and
// how long it takes, and ask for the memory that they read into; Samples asks for
// what the engine keeps, whatever source it is from. The Budget of the Handler
// limits both, each query by itself and all together: memory, series, samples,
// blocks and bytes fetched. A limit ends the query with a *LimitError that names
// it, its value and what was asked; it is never a warning, and the query reads no
// further. BudgetOptions.Names has it name what an operator can change, such as
// the host's flags. A query that is too big, be it for the process by itself, is
// 422; one that does not fit beside others is 429. Give the stores the same
// Budget, for reads that come to them without the Handler.
//
// What the engine computes is not in the Budget. EngineOptions.MaxSamples bounds
// it, at 16 bytes for each float: a host with little memory should lower it.
//
// Queries run MaxConcurrent at a time and wait their turn by tenant, see
// EngineOptions. Who waits too long, or finds too many waiting, gets a
// *BusyError, and 429.
//
// The cost shows in the answer, with stats=all, as data.stats.cost beside what
// Prometheus gives, if a store has told it; in the histograms varve_query_cost_*;
// in the log, at level debug or from HandlerOptions.SlowQuery on; and by
// HandlerOptions.OnQuery. Requests and bytes, and the price of them, are what went
// to the bucket, second tries and second requests included, if
// objstore.WithRequests is below all else: the same that an objstore.Account in
// the context of the query has.
//
// # Replica labels
//
// Answers with series have replicas merged and their labels removed, as the read
// options and the parameters dedup and replicaLabels[] say. The names and values
// of labels are those that are stored, replica labels included, whatever the
// parameters: a selector may use them, and a dashboard fills its variables with
// them. Thanos does the same.
//
// # Caveats
//
// Series are pulled from a source by whoever reads the merged set: the sources
// work side by side up to the first series of each, and after that as they are
// read. A source that can work ahead should.
//
// A Select that was given up, because a source did not heed its deadline, keeps
// its goroutine and its querier until the source returns.
//
// Answers are Prometheus' to the byte, except that more is refused: NaN as a
// time, steps below a millisecond, queries that would end the process, and
// parameters of Thanos that are not supported and would change the answer
// (storeMatch[], shard_info).
package query
