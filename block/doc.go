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
//	anything else                left alone
//
// # The types
//
// Meta is the content of meta.json; Mark that of a marker. Upload, Download and
// Delete move one block. A Shipper uploads the finished blocks of a Source,
// each once. A Fetcher finds what the bucket holds, as a View.
//
//	Source ──► Shipper ──► Upload ──► bucket ──► Lister ──► Fetcher ──► View
//	(local blocks)                      │
//	                                    └──► Download, Delete, PutMark
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
//   - A block that was deleted in the bucket half way (a deletion mark without
//     meta.json) waits until the deletion has ended.
//   - A block that is not in the bucket after ShipperOptions.UploadTimeout waits
//     for the next pass, which goes on where it was, so that a bucket that hangs
//     does not hold back other blocks and directories.
//   - The files of a block are hard-linked below <dir>/thanos/upload while it
//     is uploaded, so that deleting the block locally does no harm. A file
//     system without hard links works too, without that.
//
// A new block costs one list, two requests a file, and two for meta.json.
//
// # Finding
//
// A pass of the Fetcher lists all objects of the bucket in one sweep. A listing
// returns a thousand names a request and a block has around ten objects, so
// a sweep over a thousand blocks takes about ten requests, and tells for each
// block whether it is complete and which markers it has. Listing the root
// alone would take one, but then each block needs a request for its meta.json
// and one for its deletion mark, in each pass: two hundred times as many.
// The price is that objects that belong to nobody here are listed too; a
// bucket that is shared with other data should have a prefix of its own.
// A Lister that knows the blocks otherwise takes the place of the sweep.
//
// Only a meta.json and deletion mark not seen before are read. Metas, which
// never change, are cached in memory and in FetcherOptions.Dir, under a
// checksum: a file that does not match is as good as none.
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
