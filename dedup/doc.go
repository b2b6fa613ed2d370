// Package dedup makes one series of the replicas of it.
//
// Two Prometheus servers that scrape the same targets, or the copies that a
// replicating receiver keeps, store each series several times, told apart by a
// replica label. Queryable takes that label away and merges what becomes equal;
// Merge is the same logic as a merge function for compaction, so that what is
// deduplicated on disk and what is deduplicated on reading agree.
//
//	one := dedup.New(all, dedup.Options{ReplicaLabels: []string{"replica"}})
//
// # Data path
//
// Series of different replicas must come next to each other, in the order that
// label sets have without the replica labels. A source with the method
// ChunkQuerierWithout sorts that way itself; the series of any other are
// collected and sorted for each Select. Series with equal labels that follow
// each other form a group, and a group becomes one series.
//
// Matchers see the replica labels. One on a replica label chooses replicas,
// which is the way to look at one of them; a label that a read should see must
// be left out of its replica labels. LabelNames and LabelValues do not show
// replica labels either; a read with ReadOptions.NoDedup sees all, which is how
// the query API lists names and values.
//
// The chunks of a group are sorted into lanes. A lane is a sequence of chunks
// that do not overlap, mostly one replica. A chunk that is byte for byte the
// same as one that is there already is dropped. A chunk of the followed lane
// that has its time range to itself is handed on undecoded. In the rest, the
// samples of the followed lane are looked at one by one; if they all are
// wanted, the chunk is handed on as it is, and only where lanes change within a
// chunk are samples encoded anew, at most 120 to a chunk. Chunks of a lane that
// is not followed are decoded only around the gaps of the one that is. Memory
// per series is a few chunks for each replica, however long the series is.
//
// # Which replica is followed
//
// The one that comes first in the order of the source, unless it begins more
// than an interval later than the earliest. It is left
//
//   - at a gap: when its next sample is more than 3/2 intervals away. The
//     interval is the median of the latest ones between samples, of the replica
//     that has the shortest; so of replicas that scrape at different intervals,
//     the finer is followed wherever it has data;
//   - at a stale marker that no other replica confirms;
//   - at its end, if another has a sample at least 3/2 intervals later.
//     Otherwise the sample of the followed replica may merely not be there yet.
//
// It is left for the replica whose next sample is nearest to where a sample was
// due, no nearer than half an interval to the samples on either side. A replica
// that was left is followed again after four samples without a gap, the next
// time after eight, and so on up to 64; so a gap does not leave its trace up to
// the end of the series, and a flapping replica is soon not returned to.
//
// # Counters
//
// Two replicas read a counter at different times with different clocks. What
// the one has last seen can be more than what the other sees a little later, and
// a step down is a reset to PromQL, worth the whole value of the counter. So a
// lane is only switched to at a sample that fits: one not lower than the last
// emitted, unless its own replica shows a reset there that the emitted samples
// do not show yet; and, shortly after a reset, not one from before it. Samples
// that do not fit are left out, for up to 3 intervals, or 10 if the series is a
// counter by its name (_total, _bucket, _count, _sum) or a native histogram of
// counter kind. The replica's own reset is never left out for being close to
// the sample before.
//
// Whether a series of floats is a counter is judged by its values: whether they
// fall within a replica more than a third as often as they rise. The function
// a query applies does not matter: the same data always merges in the same way,
// under a rate, in a subquery, and in compaction.
//
// # What it promises
//
//   - Every emitted sample is a sample of one of the replicas, bit for bit.
//   - Timestamps rise strictly, the chunks of a series do not overlap.
//   - Identical copies come out as one of them, undecoded.
//   - Where some replica has samples, no more than 3/2 intervals stay empty,
//     except that a counter which lags is left out as above, and so is a gauge
//     that has not changed often enough to be known for one.
//   - A switch between replicas is not a counter reset that none of them saw, as
//     long as their clocks agree within half an interval. Clocks that are further
//     apart mostly do no harm either, but that is not a promise.
//   - The order of the replicas decides only which is followed first.
//
// An interval must be known to be judged by: a replica with but a few samples,
// most of them missing, can hide a gap.
//
// # Caveats
//
// A chunk that is handed on where another replica took over shortly before is
// decoded, and so is the one before it, to compare their values.
//
// Half an interval of one replica can be lost where another takes over, which
// an increase over that time shows by as much as a sample's worth. Which replica
// is followed after a gap depends on what came before in the range read: reads
// of different ranges may see samples of different replicas.
//
// Chunks that the chunkenc package does not know, such as the aggregates of
// downsampled blocks, are an error that wraps ErrEncoding.
//
// Native histograms are compared by their counts. After a switch they do not
// carry their own replica's counter reset hint: it is found anew where a chunk
// is written, and left unknown at the start of one, so that readers compare.
package dedup
