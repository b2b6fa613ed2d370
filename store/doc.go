// Package store answers queries from blocks in a bucket: Bucket is a
// storage.ChunkQueryable over all complete blocks there, whoever wrote them.
//
// # The types
//
//	Bucket      Open makes one; Sync looks once which blocks there are, Run
//	            does so again and again; queriers read what is known
//	BlockError  a block that could not be read: which, what of it, why, and
//	            what an answer without it lacks
//
// Inside, an openBlock is a block with what is kept of it locally, a blockSet
// the blocks of one view by external labels, and a querier holds on to those
// blocks of the set that overlap its time range.
//
// # Which blocks there are
//
// A Sync asks a Fetcher. The default one reads the index of the bucket that
// Varve's shippers keep (see package block): a start takes two requests and
// about 1.2 KB of memory a block, and a Sync one request, however many blocks
// there are; a block that Varve shipped is there with the next Sync, what others
// did to the bucket within 15 minutes: blocks that came, went or were replaced under
// their ULID, and external labels that were edited in meta.json. Without an index, or
// with one that nobody keeps any more, each Sync lists the whole bucket. Nothing else
// is read, and no header made, before a query needs a block.
//
// The directory of a Bucket is locked while that is open, so that two do not remove
// each other's headers. What stores may share is the directory of a cache, see
// package objstore/cache.
//
// # How a query finds bytes
//
// A Select goes to all streams (blocks with the same external labels) that its
// matchers on external labels do not rule out, and in each to all blocks that
// overlap its range, side by side and in the background from the moment of the
// call. In each block:
//
//	header    symbols and the offsets of postings lists. Read once when the first
//	          query needs the block, by one read if the index is small, by two
//	          side by side if meta.json notes where its sections are, and with
//	          one before these if not; kept on disk, see package indexheader
//	postings  the header tells which lists the matchers need and exactly where
//	          they are. Neighbouring lists are read together, then intersected
//	          and subtracted: the result are references to series entries. A
//	          matcher whose lists are larger than the entries of the series that
//	          the others leave, or that would have to be tried on more values
//	          than these are series, waits for the labels instead
//	series    an entry ends where the next wanted one begins, or is guessed at
//	          64 KiB, and read again if it is longer. Batches start small and
//	          grow. Chunks outside of the range are dropped here
//	chunks    a chunk ends where the series' next chunk begins, or the next
//	          series' first; the last is guessed by meta.json or at 16,000
//	          bytes, and read again if it is longer
//
// All reads are ranged. Ranges closer to each other than 512 KiB are read
// together, and none is longer than 4 MiB, so that a large one is read in
// parts at once. What lies between is read over and not kept. Every postings
// list, series entry and chunk is held against its checksum. Series wait for
// chunks in batches of bounded size.
//
// The series of a stream's blocks are merged first, then get their external
// labels (package extlabels), then the streams are merged. Where blocks
// overlap a series has the chunks of all, ordered by time, equal ones once:
// the reader of the samples sees each timestamp once because it merges chunks
// by timestamp, as storage.NewSeriesSetFromChunkSeriesSet does.
//
// # Resolutions
//
// A stream may have blocks of several resolutions for the same time. A read gets
// the coarsest that ReadOptions.MaxResolution accepts, and for functions that need
// two samples half their range; what those blocks leave open is filled
// with finer ones, and what then is left, coarser ones, of which a CoarserError
// among the warnings tells: it is no fault, and the query API shows it as an info. Where blocks of two
// resolutions overlap the samples of the one end where those of the other begin.
//
// A chunk of a downsampled block holds five aggregates in one record with one
// checksum, so that it is read whole; the one that the function of
// the query needs is kept, and made into chunks that every reader knows: see package
// aggrchunk. A read by aggrchunk.AsStored gets the chunks as they are.
//
// # Memory
//
// A read asks its Cost (see query.WithCost; a read that brings none gets one of
// Options.Budget) for memory before it reads: the postings lists of all blocks,
// the references they come to at four bytes each, the entries that were fetched,
// decoded series, and chunks, until its reader has moved on to the next series.
// What is refused ends the read with a *LimitError, also where blocks may be
// missing. In flight is what postings take, and what Options.ReadAhead allows,
// with a floor for each block that is smaller where there are many.
//
// A Select that cannot fit is refused before it fetches anything. Each of its
// blocks works out from its header what it will take at least, and none fetches
// postings before all have. It counts
//
//	lists   all that will be read: the header has their sizes
//	series  as many as must match by these sizes: of 100 series of which 90 have
//	        the one label that is asked for and 80 the other, 70. Their chunks and
//	        labels count if the reader keeps what it gets, and if the whole block
//	        lies in its range; none do where matchers wait for the labels, since
//	        these may leave none
//
// That is less than the Select will take, or as much, so that nothing is refused
// that would fit. Labels count for the block alone that has most of them, since the
// series of the others may be the same ones. Chunks add up over the blocks, and what
// two blocks of a stream both have counts twice, until a compactor removes it. To wait
// for all blocks costs nothing: their series are merged, and the first cannot come
// before each block has one.
//
// What the reader keeps is for the reader to ask for: query.Samples does so for
// the engine, package extlabels for what it has to sort. A StoreAPI server keeps
// nothing, and may stream what never fits in memory. Headers and caches have
// bounds of their own; but while a read goes on, whole pages are counted of what it
// wants of a cache, and all it asks for counts against BudgetOptions.QueryFetch,
// wherever it is found. A chunk keeps what was read around it in memory, up to a
// third of its own size. Of the processors, one read uses all but one at a
// time, and lets others run between small steps.
//
// What a read has cost is in the same Cost: requests and bytes are those that
// reached the bucket, second tries and second requests included, where
// objstore.WithRequests is below them. A pass over the bucket that a read has
// caused, because a block was gone, is on no one's account.
//
// # Deadlines
//
// A read returns soon after its context has ended, at most 250 ms later, though
// the bucket may not heed it. What hangs in the bucket then keeps its slot of
// Options.Concurrency until it returns. Close does not wait for it. The pass that a
// read has caused because a block was gone is given up after a minute.
//
// # Caches
//
// A bucket with the optional interface objstore.RangesReader, as that of package
// objstore/cache, remembers what is read of blocks: it is told what is wanted
// rather than which ranges to read, so that it reads only what is missing. The
// version of a block's objects is drawn from its meta.json and from when the youngest
// of them was written, so that a block that was deleted and uploaded again finds
// nothing of the old one. Its header bears that time too. When meta.json itself was
// written is of no matter: labels that are edited in place leave what was read of
// use. Until a Sync has seen that a block was replaced, an answer may be of both; only
// checksums and sizes speak against that. Put another block under another ULID.
//
// With such a bucket an index of up to 4 MiB is read whole when a block is first
// of use: its header is made of it, postings and series are found in the cache,
// and a query waits for one read a block instead of three.
//
// What is read again because it made no sense is read past the cache, and so is
// an object that was repaired: the time at which it was written is then part of the
// version.
//
// # Faults
//
// An object that is missing, truncated or corrupt makes a BlockError. The read
// fails, unless it asked for partial answers (query.ReadOptions.Partial): then
// the block is left out and the BlockError is a warning. Things that a read
// does not touch cannot fail it.
//
// Bytes that make no sense are read once more before the object is blamed for them.
// If it is, the fault goes into quarantine: reads that need what is
// broken, all of an index or one chunk of many, fail or lack it at once, without a
// request, for Options.Quarantine. It ends earlier when a Sync sees that the object was
// written anew. Faults that may pass by themselves, like those of a bucket that is
// away, are never remembered beyond the querier that met them.
// When an index cannot be read, or makes no sense, its size is asked for: if it is
// shorter than meta.json says it is truncated.
//
// A strict read fails for a fault in quarantine as it did when that was met: what
// it computes may be stored or set off an alert, where a hole counts as zero, and it
// does not become whole by being known to be incomplete. That it may go on without is for
// the reader to say, by Partial, and the answer then names each block it
// lacks. Quarantine is about what is broken, not about the block: the rest of
// it goes on answering both kinds of readers. Bucket.Blocks lists all faults, and
// varve_store_quarantined_blocks counts.
//
// When an object is missing, the bucket's view is brought up to date before anything
// is concluded. If the block has left it, as when a compactor deletes what it has
// replaced, the read goes on with the block that has all its sources, from the series where it
// was; if there is none in its stream the BlockError is an ErrReplaced, which a new
// query will not meet.
//
// A block whose meta.json cannot be read may be about anything, so all reads
// touch it, until a Sync has read it. One that is there and makes no sense does
// not fail them, since no Sync will: it is a warning of every answer. A block
// that was known before is served as it was.
//
// Index headers that are open, and their files, keep to budgets in bytes: those
// of no use for longest are closed, or removed and built again when they are
// needed; what a query uses stays.
//
// A broken local header is built anew. One that is damaged while it is in use is
// found when a read by way of it fails: before the object is blamed the header
// is held against its checksums, and if they fail it is dropped, logged, counted
// in varve_store_index_headers_discarded_total, and the read repeated once with
// a new one. Damage that leaves the tables well-formed, like one letter of a
// label changed, shows at the next start. Headers are read with pread, never
// mapped, so that a failing disk cannot end the process.
//
// # Caveats
//
// With right checksums an object may still be crafted. Whatever it says, no more is
// read or kept than it has bytes, times a small factor; a chunk of histograms whose layout
// names more buckets than it has bits, and labels of more than a MiB a series, are
// refused. What the samples say is believed.
//
// Index version 1 (Prometheus before 2.0) is refused with a BlockError.
//
// Label names and values are those of whole blocks that overlap the range; a
// Select is exact to the chunk.
package store
