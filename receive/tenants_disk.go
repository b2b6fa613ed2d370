package receive

import (
	"fmt"
	"sync/atomic"
	"time"
)

// freeSpaceAge is how long a look at the free disk space is good for. Looking
// costs a microsecond or so, and a fast writer to a fast disk fills megabytes in
// this time.
const freeSpaceAge = 5 * time.Millisecond

// freeSpace watches the free space of the data directory's disk.
type freeSpace struct {
	dir string
	min int64 // bytes; not positive: no reserve

	lookedAt atomic.Int64 // Unix nanoseconds
	free     atomic.Int64
}

// check returns nil if there was room a moment ago, and otherwise an error that
// says how much is missing.
func (f *freeSpace) check() error {
	if f.min <= 0 {
		return nil
	}
	now := time.Now().UnixNano()
	if at := f.lookedAt.Load(); at == 0 || now-at > int64(freeSpaceAge) || now < at {
		return f.look(0)
	}
	return f.verdict(f.free.Load(), 0)
}

// look asks the disk whether there is room for more bytes besides the reserve.
// A disk that cannot be asked counts as having room: writing will tell.
func (f *freeSpace) look(more int64) error {
	if f.min <= 0 && more <= 0 {
		return nil
	}
	free, err := freeDiskBytes(f.dir)
	if err != nil {
		return nil
	}
	f.free.Store(free)
	f.lookedAt.Store(time.Now().UnixNano())
	return f.verdict(free, more)
}

func (f *freeSpace) verdict(free, more int64) error {
	reserve := max(f.min, 0)
	switch {
	case free >= reserve && free-reserve >= more:
		return nil
	case more > 0:
		return fmt.Errorf("%d bytes are free on the disk of %s, %d (MinFreeDisk) and %d to replay the write-ahead log are needed: make room on it, then the tenant is opened", free, f.dir, reserve, more)
	}
	return fmt.Errorf("%d bytes are free on the disk of %s, %d (MinFreeDisk) are needed: make room on it, or lower Retention if shipped blocks fill it", free, f.dir, reserve)
}
