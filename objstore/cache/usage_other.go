//go:build !unix

package cache

import "io/fs"

// usage is how much of the disk a file takes at most.
func usage(info fs.FileInfo) int64 { return info.Size() }
