//go:build linux || darwin || freebsd

package receive

import "syscall"

// freeDiskBytes returns the bytes that an unprivileged process may still write.
func freeDiskBytes(dir string) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil
}
