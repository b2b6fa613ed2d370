// Package around is what the decorators of buckets are made of: one type that
// runs code around each operation, and readers that watch bytes go by without
// hiding what the reader below them can do.
//
// A decorator that loses a reader's size, Seek or ReadAt costs dearly further
// down: the S3 client, for one, sets aside half a gigabyte for a body it
// cannot measure. So there is one place that keeps them.
package around
