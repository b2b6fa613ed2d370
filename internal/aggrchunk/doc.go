// Package aggrchunk is the chunk of downsampled blocks, which holds up to five
// aggregates of each window of time, and what becomes of it on the way to a
// reader of ordinary chunks. The format is Thanos' (pkg/compact/downsample,
// aggr.go): blocks move freely between the two.
//
// # The types
//
//	Chunk        the five slots as a chunkenc.Chunk. Nothing iterates over it: a
//	             reader asks for the aggregates it wants
//	Aggregate    which slot; ForFunc says which a PromQL function wants
//	Ordinary     turns a Chunk into chunks that everybody reads
//	Counters     does so for counters, which takes all chunks of a series in order
//	ClipStored   cuts a Chunk down to some of its windows
//	FinestFirst  sees to it that nothing counts twice where sources overlap
//
// # What a function sees
//
// min, max, count and the sums of sum_over_time are slots that are ordinary
// chunks already. Any other function but those of counters sees the average of
// each window, sum divided by count, encoded anew.
//
// A counter slot holds, for each window, what the counter would stand at without
// the resets since the chunk's start, and at its end once more the last time, with the
// value that the counter really had. Emitted is the first of these plus an offset:
// what the resets inside of earlier chunks have taken away. Where a chunk begins
// below the true last value of the one before, that is a reset; it shows by itself, so
// the offset ends there. So rate and increase come out as over the raw samples at
// the same times, raw chunks pass untouched while there is no offset, and resets
// counts those between chunks.
//
// # Who does what
//
// A store turns Chunks into ordinary ones, marks what it made (Mark), and follows
// counters, so that what it returns is for any reader. A layer that
// joins several sources asks them by KeepCounters to leave counters alone, and does that
// itself on the joined series: the raw samples of one source would
// otherwise meet the lifted ones of another. One that looks into chunks below such a
// layer, as deduplication, asks by AsOrdinary for ordinary chunks.
//
// With AsStored in its context a read gets each Chunk as it lies in the block, but
// for those that reach into times at which other blocks answer: of these it gets what
// is left, encoded anew. That is for layers that pass them on, such as a StoreAPI
// server.
package aggrchunk
