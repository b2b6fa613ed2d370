package cache

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The operations that fail, as metrics call them.
const (
	opOpen     = "open"
	opRead     = "read"
	opWrite    = "write"
	opRemove   = "remove"
	opChecksum = "checksum"
)

// disk remembers pages in files of a directory that others may use too. Nothing
// it has is relied on: whatever is missing, cut off or flipped is not found. A
// nil disk remembers nothing.
type disk struct {
	dir     string
	metrics *metrics
	log     *slog.Logger
	index   *diskIndex
	writers chan struct{} // a token for each write under way

	mu     sync.Mutex           // guards what follows
	warned map[string]time.Time // when the log last had a line, by its text
	paused time.Time            // until when nothing is written
}

const (
	// diskWriters bounds how many flights write at once, and with it how much
	// memory waits for a slow disk. What comes on top is not written.
	diskWriters = 8
	// diskPause is how long nothing is written after the disk has failed, and
	// how often the log hears of it.
	diskPause = time.Minute
)

// newDisk looks through the directory.
func newDisk(opts Options, m *metrics) *disk {
	d := &disk{
		dir: filepath.Join(opts.Dir, diskVersion), metrics: m, log: opts.Logger,
		writers: make(chan struct{}, diskWriters), warned: map[string]time.Time{},
	}
	d.index = newDiskIndex(d.dir, opts.DiskBytes)
	if err := os.MkdirAll(d.dir, 0o777); err != nil {
		d.failed(opOpen, err)
		return d
	}
	d.bound(d.index.scan())
	return d
}

// What the log says, once a minute at most of either.
const (
	logFails   = "the cache on disk fails and does without for now: free space, or repair or replace the disk"
	logDamaged = "a file of the cache on disk is damaged: it is dropped, and what it had is read from the bucket again; look at the disk only if this comes again and again"
)

// failed counts a failure, and logs it unless there was such a line just now.
func (d *disk) failed(op string, err error) {
	d.metrics.diskFailures.WithLabelValues(op).Inc()
	text := logFails
	if op == opChecksum {
		text = logDamaged
	}
	d.mu.Lock()
	now := time.Now()
	last, known := d.warned[text]
	news := !known || now.Sub(last) >= diskPause
	if news {
		d.warned[text] = now
	}
	if op == opOpen || op == opWrite {
		d.paused = now.Add(diskPause)
	}
	d.mu.Unlock()
	if news {
		d.log.Warn(text, "dir", d.dir, "operation", op, "err", err)
	}
}

func (d *disk) pausing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.paused)
}

// read fills in those of pages, which are sorted, that it has.
func (d *disk) read(object objectID, pages []*wantedPage) {
	if d == nil {
		return
	}
	for len(pages) > 0 {
		number := segmentOf(pages[0].number)
		n := 1
		for n < len(pages) && segmentOf(pages[n].number) == number {
			n++
		}
		d.readSegment(segmentKey{object, number}, pages[:n])
		pages = pages[n:]
	}
}

func (d *disk) readSegment(key segmentKey, pages []*wantedPage) {
	s, err := openSegment(d.dir, key, os.O_RDONLY)
	if err != nil {
		d.lost(key, err)
		return
	}
	defer s.close()
	if now, stamp := d.index.used(key); stamp {
		_ = os.Chtimes(key.path(d.dir), now, now) // who may only read has no say in what goes
	}
	for _, p := range pages {
		content, err := s.page(p.number)
		if err != nil {
			d.lost(key, err)
			return
		}
		if content != nil {
			p.content, p.found = content, true
		}
	}
}

// lost deals with a segment that could not be read.
func (d *disk) lost(key segmentKey, err error) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.index.gone(key)
	case errors.As(err, new(brokenError)):
		d.failed(opChecksum, err)
		d.remove(key)
	default:
		d.failed(opRead, err)
	}
}

// remove drops a segment.
func (d *disk) remove(key segmentKey) {
	if err := os.Remove(key.path(d.dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Where it cannot be removed it goes on being counted.
		d.failed(opRemove, err)
		return
	}
	d.index.gone(key)
	d.metrics.diskBytes.Set(float64(d.index.bytes()))
}

// forget drops the segments that have pages from first to last of an object.
func (d *disk) forget(object objectID, first, last int64) {
	if d == nil {
		return
	}
	for n := segmentOf(first); n <= segmentOf(last); n++ {
		d.remove(segmentKey{object, n})
	}
}

// write remembers pages, which are sorted. It gives up rather than wait.
func (d *disk) write(object objectID, pages []page) {
	if d == nil || len(pages) == 0 {
		return
	}
	select {
	case d.writers <- struct{}{}:
		defer func() { <-d.writers }()
	default:
		d.metrics.diskSkipped.Add(float64(len(pages)))
		return
	}
	if d.pausing() {
		d.metrics.diskSkipped.Add(float64(len(pages)))
		return
	}
	for len(pages) > 0 {
		number := segmentOf(pages[0].number)
		n := 1
		for n < len(pages) && segmentOf(pages[n].number) == number {
			n++
		}
		if err := d.writeSegment(segmentKey{object, number}, pages[:n]); err != nil {
			d.failed(opWrite, err)
			return
		}
		pages = pages[n:]
	}
	if d.index.stale() {
		d.bound(d.index.scan())
	} else {
		d.bound(nil)
	}
}

func (d *disk) writeSegment(key segmentKey, pages []page) error {
	s, err := openSegment(d.dir, key, os.O_RDWR|os.O_CREATE)
	if errors.As(err, new(brokenError)) {
		d.lost(key, err)
		s, err = openSegment(d.dir, key, os.O_RDWR|os.O_CREATE)
	}
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.put(pages); err != nil {
		return err // names the file
	}
	size, err := s.usage()
	if err != nil {
		return err
	}
	d.index.wrote(key, size, int64(len(pages))*pageSize)
	return nil
}

// bound removes what is used least until the budget is kept.
func (d *disk) bound(err error) {
	if err != nil {
		d.failed(opOpen, err)
	}
	for _, key := range d.index.excess() {
		if err := os.Remove(key.path(d.dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.failed(opRemove, err)
			continue // the next scan counts it again
		}
		d.metrics.diskEvicted.Inc()
	}
	d.metrics.diskBytes.Set(float64(d.index.bytes()))
}
