// Package cache remembers what was read of objects that do not change: New goes
// around any bucket, and remembers in memory and, if it is given a directory, on
// disk.
//
//	bkt, err := cache.New(bkt, cache.Options{MemoryBytes: 1 << 30, Dir: dir, DiskBytes: 100 << 30})
//	hist, err := store.Open(bkt, storeDir, store.Options{})
//
// Put it above WithRetry and WithRequests, so that these see what really reaches
// the bucket. All readers that are to share what is remembered share the Bucket.
//
// # What is remembered
//
// Only what a reader vouches for: reads through ReadRanges, which store.Bucket
// finds by itself, and GetRange with a context of objstore.WithVersion. Both name
// a version of the object, and everything is remembered under name and version.
// Package store derives the version of a block's objects from its meta.json and
// from when they were written: a block that was deleted and uploaded again has
// another one, and finds nothing of the old. All other operations pass through untouched, so
// that metas, markers and lists are never old.
//
// Should somebody replace an object behind all this, its readers find that the
// checksums inside no longer hold. What a reader refuses of remembered bytes is
// forgotten and read anew, once. A read with a context of objstore.WithoutCache
// forgets what it asks for, waits for no read that others have begun, and
// remembers what comes back.
//
// # Pages
//
// An object is remembered in pages of 16 KiB. The alternative, remembering ranges
// as they were read, gives no reuse to speak of: ranges are made by coalescing
// what one query wants, and the same chunks are within other ranges for the next
// query, a dashboard that moves its window by a minute, or the same selector
// with one more matcher. With pages
//
//   - what is wanted is looked up first, and only the pages that are missing are
//     coalesced and fetched. Gaps between remembered pages are not read;
//   - pages that are read over because a gap costs less than a request are not
//     kept, since nobody asked for them: a count over a scattered job reads 50 MB
//     and keeps seven;
//   - the same bytes are never kept twice, and the budget is exact;
//   - what is wanted and lies in one page is handed out without a copy: chunks
//     alias it. Only what crosses from one page to the next is put together.
//
// The price is that reads begin and end at page boundaries: 16 KiB a request,
// where a request is worth about 3 MB.
//
// # Who owns the bytes
//
// Pages are never changed, by nobody, and never used again for others: the
// garbage collector frees one when the cache has forgotten it and the last reader
// has let go. A reader that gets less than seven eighths of a page gets a copy of
// that instead, so that a chunk of 400 bytes does not hold on to 16 KiB.
//
// # One read for many
//
// A page that somebody is fetching is waited for, not fetched again. The fetch
// belongs to none of those that wait: it ends when the last of them has given
// up. Its failure is the failure of all that wait at that moment, and is not
// remembered. It has the values of the context of whom began it, so that the
// requests are on that one's account. A page that may have been cut off (an
// answer shorter than the size of the object or the one it announced) is handed
// out and not remembered.
//
// # On disk
//
// What was fetched is also written to files in Dir, each with up to 512 pages of
// one object, 8 MiB, in their places, and a table of their lengths and
// CRC-32 (Castagnoli):
//
//	offset  size  content, big-endian
//	0       4     magic and version of the format
//	4       4     page size
//	8       16    XXH3-128 of the object's name, a zero byte, and its version
//	24      8     number of the file within the object
//	32      4     CRC of the above
//	36      4096  for each page: length, CRC of what precedes, its slot, its content
//	8192    8 MiB the pages; where they are missing the file has holes
//
// A page is there if its entry in the table and its content agree. Nothing is
// synced and nothing is renamed, since nothing needs to be: after a crash, a
// flipped bit or a truncation the page is a miss and the file is dropped. For
// the same reason several caches of several processes may have one directory:
// they write the same bytes to the same places, find each other's pages, and one
// that removes a file takes nothing from those that have it open.
//
// The budget is kept by removing the files that were of no use for longest, down
// to a sixteenth below it. At the start, and after each sixteenth of it written,
// the directory is looked through again, for what others put there. The use of a
// file shows in its time of modification, by which other processes and the next
// one know of it: it is at most ten minutes behind. A file goes as a whole, so
// that what is read often of an object keeps what lies near it.
//
// Writing happens behind the readers' backs by those that fetched. If more than
// eight are at it, or the disk has failed within the last minute, pages are not
// written. A disk that is full, read-only or broken is logged and counted, and
// otherwise as good as none.
package cache
