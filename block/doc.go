// Package block knows what a block is and how it gets into and out of a
// bucket: meta.json, markers, object names, shipping, finding, downloading and
// deleting. Layout and formats are those of Thanos, so that a bucket can move
// freely between the two.
//
//	<ULID>/                      one block; <prefix>/ of the bucket's configuration before it
//	    chunks/000001 …          segments of chunks
//	    index                    the TSDB index
//	    meta.json                Meta; its presence makes the block complete
//	    deletion-mark.json       Mark: to be deleted once a delay has passed
//	    no-compact-mark.json     Mark: not to be compacted
//	    no-downsample-mark.json  Mark: not to be downsampled
//	varve/                       what this module keeps beside the blocks
//	    index/v1/                the index of the bucket
//	anything else                left alone
//
// # The types
//
// Meta is the content of meta.json; Mark that of a marker. Upload, Download and
// Delete move one block. A Shipper uploads the finished blocks of a Source,
// each once. A Fetcher finds what the bucket holds, as a View. A BucketIndex
// keeps a list of that in the bucket itself, so that finding is cheap.
//
//	Source ──► Shipper ──► Upload ──► bucket ──► Lister ──► Fetcher ──► View
//	(local blocks)  │                   │ ▲         ▲
//	                └──► BucketIndex ◄──┘ │         │
//	                         └────────────┼─────────┘ varve/index/v1/
//	                                      └──► Download, Delete, PutMark
//
// # Commit points
//
// meta.json is uploaded last and deleted first. Objects without it are no
// block, whoever looks and whenever a process died:
//
//	Upload    chunks/… ─► index ─► (sizes checked) ─► meta.json ─► (read back)
//	Delete    meta.json ─► all else ─► deletion-mark.json
//	Download  chunks/…, index ─► meta.json, each by a rename
//	Mark      one object; the first of its kind stays
//
// Upload does not touch a block that is complete in the bucket. It takes the
// meta.json of an incomplete one away before it changes anything under it, so a
// reader never meets a block in between. If uploading fails, Upload removes what
// it sent, meta.json first, unless it is told to keep it. The Shipper does keep it: its next pass sends only what is missing,
// and what nobody completes is swept from the bucket like any partial upload.
//
// # Shipping
//
// A pass of the Shipper looks at each directory of its Source, at up to
// ShipperOptions.Concurrency of them side by side:
//
//   - Blocks listed in <dir>/thanos.shipper.json are done. The file is replaced
//     in one step after each block, and may lag behind the bucket, never run
//     ahead of it. Lost or broken, it is filled again from the bucket. A block
//     listed there is not uploaded again even if it is gone from the bucket:
//     a compactor has replaced it. So a change to an empty bucket needs the
//     file to be deleted.
//   - Blocks without samples are listed as done without an upload, and blocks
//     of a higher compaction level than 1 are left alone and not listed, unless
//     ShipperOptions.UploadCompacted is set.
//   - A block whose meta.json is in the bucket is done only if that can be read
//     and every file has the size it has locally. Otherwise it is uploaded
//     again.
//   - Before a block is uploaded the series of its local index are read once, for
//     the index_stats in meta.json: a tenth of a second for a million series.
//   - A block that was deleted in the bucket half way (a deletion mark without
//     meta.json) waits until the deletion has ended.
//   - A block that is not in the bucket after ShipperOptions.UploadTimeout waits
//     for the next pass, which goes on where it was, so that a bucket that hangs
//     does not hold back other blocks and directories.
//   - The files of a block are hard-linked below <dir>/thanos/upload while it
//     is uploaded, so that deleting the block locally does no harm. A file
//     system without hard links works too, without that.
//
// A new block costs two lists, two requests a file, two for meta.json, and two
// for the index of the bucket. The second list tells the index when the block was
// written.
//
// # Finding
//
// A pass of the Fetcher reads the index of the bucket, if somebody keeps one:
// then it takes one request, and one more for each part of the index that is
// new, however many blocks there are.
//
// Otherwise a pass lists all objects of the bucket in one sweep. A listing
// returns a thousand names a request and a block has around ten objects, so
// a sweep over a thousand blocks takes about ten requests, and tells for each
// block whether it is complete and which markers it has. Listing the root
// alone would take one, but then each block needs a request for its meta.json
// and one for its deletion mark, in each pass: two hundred times as many.
// The price is that objects that belong to nobody here are listed too; a
// bucket that is shared with other data should have a prefix of its own.
// A Lister that knows the blocks otherwise takes the place of the sweep.
//
// Only a meta.json and deletion mark not seen before are read. Metas are cached
// in memory and in FetcherOptions.Dir, under a checksum: a file that does not match
// is as good as none. Metas that the index has, even one that is too old to be
// relied upon, are not read at all.
//
// What is known of a meta.json is believed as long as the list shows that it was
// written when it was before: operators edit labels in place, and a block may be
// deleted and another uploaded under its ULID. Lists of S3, GCS, Azure, BOS and the
// file system tell that at no cost. Of other buckets, and of any whose
// SupportedIterOptions lack objstore.UpdatedAt, each pass over the bucket reads 256
// metas again, in turn: with an index that comes to 10,000 blocks in five hours, by
// the default interval, and without to as many in forty passes. Two changes within
// the resolution of the times, which is a second in S3, look like one.
//
// A View also tells when the data of each block was written, from the same list,
// so that caches of that know it from what was there before.
//
// What a View serves is decided by pure functions, in this order: blocks
// younger than the consistency delay are hidden (TooFresh), then those whose
// deletion mark is old enough or of an unknown version, and of the rest those
// that another one covers (Duplicates). A block never hides behind one that is
// hidden. What was known of a deletion mark holds while it cannot be read.
//
// A block that is broken is reported in the View, and the others are served. A
// listing that fails fails the pass, and the earlier View stays.
//
// # The index of the bucket
//
// The index is a cache of the truth, which is the presence of each meta.json. It
// is made of objects that are written once, each under a name of its own:
//
//	varve/index/v1/<number>-<ULID>.base     all that a sweep over the bucket found
//	varve/index/v1/<number>-<ULID>.delta    what one writer did since
//
// A reader lists that directory, reads what it has not read before, and takes
// all of it together; an object that has not changed has the same name. A writer
// (any BucketIndex, such as that of each Shipper) tells of its blocks by one
// delta, which it replaces by a longer one when there is more to tell: it uploads
// the next, then deletes the last. It tells of a block once meta.json is in the
// bucket, and that a block is gone once meta.json is. From time to time one of
// the writers reconciles: it lists the index, then the bucket, uploads a base
// that names all objects it saw in the first list as replaced, and deletes them.
//
// So no order of requests by any number of writers, with no conditional write
// and no lock, loses a block:
//
//   - An object is deleted only after another was uploaded that has what is true
//     of it: the next delta of the same writer, or a base whose sweep began
//     after the object was there. Hence at each moment some object has each
//     block that was told of, or was there when a Reconcile began that has ended.
//   - A list is no snapshot, but it is in byte order, and what replaces an object
//     has a higher number than all it replaces. A list that passes the place of
//     an object after it was deleted has the place of the one that replaced it,
//     uploaded earlier, still before it. (OCI's lists are in no order: there a
//     block may be missed for one pass.)
//   - An object that is gone between list and read was replaced: the reader
//     lists again.
//   - What objects say is joined without regard to their order, and a block is
//     there if any says so. Two that reconcile at the same time both count until
//     the next does. What is gone may be listed for that long, what is there is
//     never left out. Of several metas of one block the one counts that was written
//     last by the bucket's clock.
//   - A delta has what its writer was told for as long as no base knows it. A writer
//     finds that out when it looks whether a Reconcile is due: its delta is gone.
//
// Blocks and markers that others put, metas that they edit, and blocks that they
// delete or replace, are seen by the next Reconcile, which is due when half of
// BucketIndexOptions.ReconcileInterval has passed since the last one by any
// writer. Until then the index may name a block that is gone, as a sweep may from
// one pass to the next: who reads it must cope with objects that are not there, and
// has Fetcher.Recheck ask the bucket.
//
// A reader that finds no base, one that is older than that interval (all writers
// are gone, or the clocks are far apart), or any object that it cannot read, be
// it truncated, changed, of another version or a copy under another name, sweeps
// as if there were no index. It never writes to the bucket. The next Reconcile
// replaces all of the index, whatever state that is in; it can be deleted at any
// time. After a power cut at any step the index is as it was, or has one object
// too many, or one that is torn.
//
// Who compacts, deletes or marks must not decide by the index: see
// FetcherOptions.NoIndex.
//
// An object (bucketindex_object.go has the format) holds each Meta whole, unknown
// fields too, and when the block was written, in about 45 bytes a block after
// compression and 110 before. It has
// no more than 64 MiB before, and all together 128: a bucket of more than some
// hundred thousand blocks has no index.
// The idea of such an index is that of Cortex and Mimir (bucket-index.json.gz),
// which have one writer.
//
// # Caveats
//
// The bucket must show an object at once to who asks for it by name, and
// uploads must not leave part of an object visible for good: what is torn is
// found by its size and replaced by the next pass of the Shipper, but only
// while the block is there locally.
//
// Sizes do not prove contents. Where meta.json lists SHA-256 checksums,
// Download checks them.
package block
