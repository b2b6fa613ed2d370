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
// is not followed are decoded only around the gaps of the one that is: that it
// begins and ends, and where, is known from the times of its chunks. Memory per
// series is a few chunks for each replica, however long the series is.
//
// # What it costs
//
// A query does not want chunks but samples, and to judge samples they must be
// decoded. Merged into chunks first, each would be decoded twice, which is two
// and a half times what reading one replica costs. So a merged series has a
// method Samples besides Iterator, which package query looks for: it shows the
// samples as they are chosen. What wraps merged series and has no such method
// makes reading them slower, not different. As nearly all samples are what their
// predecessors made expect, those are dealt with by the chunk: it is decoded in
// one go (see floatsIterator, which is the other half of the gain), and a loop
// that does nothing else finds the first sample that is unusual. What that loop
// and the long way decide must be the same to the last detail, since whether a
// sample comes by one or the other depends on who reads; the tests compare both
// for each case they draw. BenchmarkMerge prints the cost as a multiple of that of
// one replica, and says what is beyond 1.3 and why.
//
// Who wants chunks and decodes them does so by the iterator of the chunks that
// come out, which decodes at once, too. What was decoded to choose is lent to the
// first who asks, until the next chunk is asked for, and not decoded again. The
// bytes of such chunks are the replicas' own.
//
// Histograms take about as long to read as to decode. Within a chunk nothing but
// their time is read while samples are as expected: chunkenc begins another chunk
// where a counter was reset, and in a chunk nothing but stale markers follows a
// stale marker. Two of those in a row, which no scraper writes, would so pass for
// a sample and a stale marker.
//
// # Which replica is followed
//
// The one that comes first in the order of the source, unless it begins more
// than an interval later than the earliest. It is left
//
//   - at a gap: when its next sample is more than 3/2 intervals away. The
//     interval is the median of the latest ones between samples, of the replica
//     that has the shortest and that has data just now; so of replicas that
//     scrape at different intervals, the finer is followed wherever it has data,
//     and where it has none the others do not take turns;
//   - at a stale marker that no other replica confirms;
//   - at its end, if another has a sample at least 3/2 intervals later.
//     Otherwise the sample of the followed replica may merely not be there yet:
//     at the most recent edge one of a pair always is ahead, and a newest sample
//     of the other replica, nearer to the last one than an interval, is what
//     bends irate.
//
// It is left for the replica whose next sample is nearest to where a sample was
// due, of two as near the earlier, no nearer than half an interval to the samples
// on either side. A replica
// that was left is followed again after four samples without a gap, the next
// time after eight, and so on up to 64; so a gap does not leave its trace up to
// the end of the series, and a flapping replica is soon not returned to. Of several
// that have earned it, the one that was followed first is.
//
// # Counters
//
// Two replicas read a counter at different times with different clocks. What
// the one has last seen can be more than what the other sees a little later, and
// a step down is a reset to PromQL, worth the whole value of the counter. So a
// lane is only switched to at a sample that fits: one not lower than the last
// emitted, unless its own replica shows a reset there that the emitted samples
// do not show yet; and, shortly after a reset, not one from before it. Samples
// that do not fit are left out, for up to 3 intervals. The replica's own reset is
// never left out for being close to the sample before.
//
// Whether a series of floats is a counter is judged by its values: whether they
// fall within a replica more than a third as often as they rise. One that is named
// like a counter (_total, _bucket, _count, _sum) begins with that to its credit.
// The function a query applies does not matter: the same data always merges in
// the same way, under a rate, in a subquery, and in compaction.
//
// # What it promises, and why it holds
//
//   - Every emitted sample is a sample of one of the replicas, bit for bit:
//     nothing is calculated, not even for counters. The one exception are
//     histograms of a replica whose resolution is finer than what came before a
//     switch to it, which are made as coarse.
//   - Timestamps rise strictly, and the chunks of a series do not overlap: a lane
//     is moved beyond the last emitted sample before it is looked at.
//   - Identical copies come out as one of them, undecoded.
//   - A first replica that lacks nothing is what comes out: nothing but a gap, a
//     stale marker or the end of a replica is a reason to leave it. So there is no
//     zigzag: a switch and the way back have a reason each.
//   - Where some replica has samples, no more than 3/2 intervals stay empty: a
//     longer gap of the followed one is what makes the others be looked at;
//     except that a counter which lags is left out as above, and so is a gauge
//     that has not changed often enough to be known for one.
//   - A switch between replicas is not a counter reset that none of them saw, as
//     long as their clocks agree within half an interval: only samples that fit
//     are switched to. Clocks that are further apart mostly do no harm either,
//     but that is not a promise. Nor does a switch hide a reset: a sample that
//     shows one is let in even where it is too close to the last.
//   - Hence rate and increase, plain or over a subquery, lie between the replicas'
//     own answers or nearer to the truth, give or take a sample's worth: they are
//     made of true samples, of which at either end one may be of another replica.
//   - A stale marker comes out if no replica goes on.
//   - Merging what was merged changes nothing, and a compaction keeps what a read
//     of the same replicas in the same order shows.
//   - The order of the replicas decides which is followed first, and which of two
//     takes over that have a sample at the very same time; nothing else.
//   - All aggregates of a window of a downsampled block are those of one replica,
//     see below.
//
// A simulator of targets and scrapers draws the cases that the tests named
// TestProperty check all this for, a thousand for each; at night it should be as
// many as there is time for, each night others:
//
//	go test ./dedup -run Property -timeout 0 -rapid.checks 100000 -rapid.seed $(date +%s)
//
// BenchmarkRateAgainstTruth prints how far rates are off, beside those of each
// replica alone and of what else is done about pairs.
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
// The aggregates of downsampled blocks are series of ordinary samples by the time
// they get here, one for each window and aggregate, each read and merged by
// itself. Counts, sums, minima, maxima and averages, whose chunks are marked as
// such (aggrchunk.Mark), are chosen by nothing but their times. Those are the same
// for all of them, so that what is chosen is, too: each window comes out once, and
// the sum that comes out belongs to the count. Counters are merged as counters.
//
// Chunks that the chunkenc package does not know, such as those that hold all
// aggregates together, are an error that wraps ErrEncoding. A compaction
// deduplicates replicas before it downsamples them; one that has but downsampled
// blocks takes their chunks apart, merges each aggregate marked, which chooses what
// a read would, and puts the windows together again.
//
// Native histograms are compared by their counts. After a switch they do not
// carry their own replica's counter reset hint: it is found anew where a chunk
// is written, and left unknown at the start of one, so that readers compare.
//
// Readers take a resolution that becomes finer for a counter reset. Where one
// replica has a finer one than the other, what follows a switch to it is therefore
// reduced to the other's, until its own counter is reset; as is, after the way back,
// a finer replica that was followed first. Nothing is done about replicas of which
// one has a smaller zero bucket, or custom buckets where the other has exponential
// ones: a switch between those is a reset to PromQL.
package dedup
