//go:build unix

package cache

import (
	"io/fs"
	"syscall"
)

// usage is how much of the disk a file takes. The files have holes where pages
// are missing.
func usage(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(stat.Blocks) * 512
	}
	return info.Size()
}
