package cache

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// diskIndex knows which files there are, how much they take, and when they were
// last of use. Others may add and remove files too, so that it looks again from
// time to time.
type diskIndex struct {
	dir    string
	budget int64

	mu       sync.Mutex // guards what follows
	files    map[segmentKey]diskFile
	total    int64
	unlooked int64 // bytes written since the last scan
}

type diskFile struct {
	size int64
	used time.Time
	// stamped is the time of the file as it is on disk, which is all that is known
	// of its use after a restart.
	stamped time.Time
}

// stampEvery is how far the time of a file may lag behind its use.
const stampEvery = 10 * time.Minute

func newDiskIndex(dir string, budget int64) *diskIndex {
	return &diskIndex{dir: dir, budget: budget, files: map[segmentKey]diskFile{}}
}

// scan looks through the directory.
func (x *diskIndex) scan() error {
	found := map[segmentKey]diskFile{}
	var errs []error
	folders, err := os.ReadDir(x.dir)
	errs = append(errs, err)
	for _, folder := range folders {
		if !folder.IsDir() || len(folder.Name()) != 2 {
			continue
		}
		files, err := os.ReadDir(filepath.Join(x.dir, folder.Name()))
		errs = append(errs, err)
		for _, f := range files {
			key, ok := parseSegmentName(f.Name())
			if !ok {
				continue // not ours
			}
			if info, err := f.Info(); err == nil {
				found[key] = diskFile{usage(info), info.ModTime(), info.ModTime()}
			} else if !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.total, x.unlooked = 0, 0
	for key, f := range found {
		if known, ok := x.files[key]; ok && known.used.After(f.used) {
			f.used = known.used
		}
		found[key] = f
		x.total += f.size
	}
	x.files = found
	return errors.Join(errs...)
}

// stale says that enough was written since the last scan to look again.
func (x *diskIndex) stale() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.unlooked > x.budget/16
}

// used notes that a file was of use, and says whether the file is to be stamped
// with the time it returns.
func (x *diskIndex) used(key segmentKey) (now time.Time, stamp bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now = time.Now()
	f, ok := x.files[key]
	if !ok {
		return now, false
	}
	f.used = now
	if stamp = now.Sub(f.stamped) >= stampEvery; stamp {
		f.stamped = now
	}
	x.files[key] = f
	return now, stamp
}

// wrote notes how much a file takes after written bytes more.
func (x *diskIndex) wrote(key segmentKey, size, written int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.total += size - x.files[key].size
	now := time.Now()
	x.files[key] = diskFile{size, now, now}
	x.unlooked += written
}

// gone notes that there is no such file.
func (x *diskIndex) gone(key segmentKey) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.total -= x.files[key].size
	delete(x.files, key)
}

func (x *diskIndex) bytes() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.total
}

// excess takes files out, those that were of no use for longest first, until the
// rest is within the budget by a sixteenth, and returns them for removal.
func (x *diskIndex) excess() []segmentKey {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.total <= x.budget {
		return nil
	}
	all := make([]segmentKey, 0, len(x.files))
	for key := range x.files {
		all = append(all, key)
	}
	slices.SortFunc(all, func(a, b segmentKey) int {
		return cmp.Or(x.files[a].used.Compare(x.files[b].used), slices.Compare(a.object[:], b.object[:]), cmp.Compare(a.number, b.number))
	})
	n := 0
	for n < len(all) && x.total > x.budget-x.budget/16 {
		x.total -= x.files[all[n]].size
		delete(x.files, all[n])
		n++
	}
	return all[:n]
}
