package store

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// headerBudget keeps the index headers of all blocks within budgets: those that
// are open by the memory they take, and their files by the disk they take. What
// was of no use for longest goes first, and what a query uses stays, so that the
// budgets are exceeded while queries over very many blocks run. It may be used by
// several goroutines at once.
type headerBudget struct {
	memoryLimit, diskLimit int64 // in bytes
	metrics                *metrics

	mu           sync.Mutex // guards what follows
	open         map[*header]headerUse
	files        map[string]headerUse // by path
	opening      map[string]int       // attempts to open or build a file
	memory, disk int64
}

// headerUse is what a header takes, and when it was last asked for.
type headerUse struct {
	bytes int64
	used  time.Time
}

// openHeaderLimit bounds how many headers are open, whatever they take: each
// holds a file descriptor.
const openHeaderLimit = 1000

func newHeaderBudget(opts Options, m *metrics) *headerBudget {
	return &headerBudget{
		memoryLimit: opts.HeaderMemoryBytes, diskLimit: opts.HeaderDiskBytes, metrics: m,
		open: map[*header]headerUse{}, files: map[string]headerUse{}, opening: map[string]int{},
	}
}

// begin notes that a file is about to be opened or built, and end that it has been:
// in between it stays.
func (b *headerBudget) begin(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opening[path]++
}

func (b *headerBudget) end(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opening[path]--; b.opening[path] == 0 {
		delete(b.opening, path)
	}
}

// opened notes that h has a reader now, from a file of the given size.
func (b *headerBudget) opened(h *header, memory, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	path := h.block.headerPath()
	b.memory += memory - b.open[h].bytes
	b.disk += size - b.files[path].bytes
	b.open[h], b.files[path] = headerUse{memory, now}, headerUse{size, now}
	b.report()
}

// found notes a file that an earlier process left. It is as old as its block, so
// that those of old blocks go first.
func (b *headerBudget) found(path string, size int64, modified time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.files[path]; !known {
		b.files[path] = headerUse{size, modified}
		b.disk += size
		b.report()
	}
}

// used notes that a query asked for h.
func (b *headerBudget) used(h *header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	use, ok := b.open[h]
	if !ok {
		return
	}
	use.used = time.Now()
	b.open[h] = use
	path := h.block.headerPath()
	if file, ok := b.files[path]; ok {
		file.used = use.used
		b.files[path] = file
	}
}

// closed notes that h has no reader any more.
func (b *headerBudget) closed(h *header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.memory -= b.open[h].bytes
	delete(b.open, h)
	b.report()
}

// removed notes that a file is gone.
func (b *headerBudget) removed(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.disk -= b.files[path].bytes
	delete(b.files, path)
	b.report()
}

// report is called with b.mu held.
func (b *headerBudget) report() {
	b.metrics.headersOpen.Set(float64(len(b.open)))
	b.metrics.headerBytes.WithLabelValues(placeMemory).Set(float64(b.memory))
	b.metrics.headerBytes.WithLabelValues(placeDisk).Set(float64(b.disk))
}

// trim closes and removes what exceeds the budgets.
func (b *headerBudget) trim() {
	for _, h := range b.excessOpen() {
		// The lock is not held, since whoever gets h's own asks for ours.
		if !b.memoryExceeded() {
			break
		}
		if h.evict() {
			b.metrics.headerEvictions.WithLabelValues(placeMemory).Inc()
		}
	}
	b.removeExcess()
}

func (b *headerBudget) memoryExceeded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.memory > b.memoryLimit || len(b.open) > openHeaderLimit
}

// excessOpen returns all open headers, the longest unused first, if there is too
// much of them.
func (b *headerBudget) excessOpen() []*header {
	if !b.memoryExceeded() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return byUse(b.open)
}

// removeExcess removes the files that have to go. Those of open headers stay:
// removing them frees nothing before they are closed. The lock is held, so that
// nobody begins to open one of them meanwhile.
func (b *headerBudget) removeExcess() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.disk <= b.diskLimit {
		return
	}
	open := map[string]bool{}
	for h := range b.open {
		open[h.block.headerPath()] = true
	}
	for _, path := range byUse(b.files) {
		if b.disk <= b.diskLimit {
			break
		}
		if open[path] || b.opening[path] > 0 {
			continue
		}
		if os.Remove(path) == nil {
			b.metrics.headerEvictions.WithLabelValues(placeDisk).Inc()
			os.Remove(filepath.Dir(path)) // unless something else is in there
		}
		// One that cannot be removed is found at the next start.
		b.disk -= b.files[path].bytes
		delete(b.files, path)
	}
	b.report()
}

// byUse returns the keys, the longest unused first.
func byUse[K comparable](uses map[K]headerUse) []K {
	keys := make([]K, 0, len(uses))
	for k := range uses {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b K) int {
		return cmp.Or(uses[a].used.Compare(uses[b].used), cmp.Compare(uses[b].bytes, uses[a].bytes))
	})
	return keys
}

// evict closes the file unless a query may be using it, and says whether it did.
// Whoever uses it has a reference to the block besides that of the view, and has had
// it since before asking for the header; whoever comes from now on finds none and opens
// it again. A block that has left the view has only references of those who use it. It
// is gone before its reference is given back, so that gone is looked at last: a single
// reference to a block that is not gone is that of the view.
func (h *header) evict() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader == nil || h.opening != nil || h.block.refs.Load() > 1 || h.block.gone.Load() {
		return false
	}
	h.reader.Close()
	h.drop()
	return true
}

// Where a header is, as metrics call it.
const (
	placeMemory = "memory"
	placeDisk   = "disk"
)
