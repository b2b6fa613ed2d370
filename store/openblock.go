package store

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/internal/indexheader"
)

// openBlock is a block that queries may read: what meta.json says about it,
// and its index header once one was needed.
//
// It is counted by reference: the view holds one, each querier that uses it
// another, and so does the building of its header. The last one to go closes
// the header, and removes it from the disk if the block has left the bucket.
type openBlock struct {
	id         ulid.ULID
	external   labels.Labels
	minTime    int64 // inclusive, milliseconds
	maxTime    int64 // exclusive
	resolution int64
	// indexSize and segments come from meta.json; indexSize is 0 if it does
	// not tell, and segments lacks what it does not.
	indexSize    int64
	segments     []int64     // size in bytes by index, counted from zero; 0 if unknown
	chunkMaxSize int64       // 0 if unknown
	seriesSize   int64       // greatest size of a series entry, 0 if unknown
	sources      []ulid.ULID // level-1 blocks whose samples it has
	chunkCount   int64       // of chunks in the block
	// sections of the index, if meta.json tells.
	sections indexheader.Sections
	// content tells the block from any other that had or will have its ULID.
	// rewritten is when one of its objects was repaired that had been broken,
	// Unix nanoseconds, 0 for never.
	content   string
	rewritten atomic.Int64
	// written is when the youngest of index and chunks was, zero if unknown.
	written time.Time

	src    *source
	dir    string // of the header
	header header

	refs atomic.Int64
	gone atomic.Bool // left the bucket

	warned atomic.Int64 // when the log last heard of a fault, Unix nanoseconds, 0 for never
}

// newOpenBlock returns a block with one reference. It reads nothing.
//
// A block that left the bucket and came back, or that was changed, may be open
// twice, since queries may go on with the one that was dropped.
func newOpenBlock(m *block.Meta, written time.Time, src *source, dir string) *openBlock {
	b := &openBlock{
		id: m.ULID, external: m.Labels(), minTime: m.MinTime, maxTime: m.MaxTime,
		resolution:   m.Thanos.Downsample.Resolution,
		chunkMaxSize: m.Thanos.IndexStats.ChunkMaxSize,
		seriesSize:   m.Thanos.IndexStats.SeriesMaxSize,
		sources:      m.Compaction.Sources,
		chunkCount:   int64(m.Stats.NumChunks),
		written:      written,
		src:          src, dir: filepath.Join(dir, m.ULID.String()),
	}
	b.content = contentVersion(m, written)
	b.sections.Series, b.sections.PostingsTable = m.IndexSections()
	b.header.block = b
	for _, f := range m.Thanos.Files {
		if f.SizeBytes <= 0 {
			continue
		}
		if f.RelPath == block.IndexFilename {
			b.indexSize = f.SizeBytes
		}
		if name, ok := strings.CutPrefix(f.RelPath, block.ChunksDirname+"/"); ok {
			// A number beyond that is one of a block with gaps, which there are not.
			if n, ok := segmentIndex(name); ok && int64(n) < int64(len(m.Thanos.Files)) {
				if b.segments == nil {
					b.segments = make([]int64, len(m.Thanos.Files))
				}
				b.segments[n] = f.SizeBytes
			}
		}
	}
	b.refs.Store(1)
	src.dirs.use(b.dir)
	return b
}

// described tells whether a meta says what b was opened with, except for what is
// in its content.
func (b *openBlock) described(m *block.Meta) bool {
	return slices.Equal(b.sources, m.Compaction.Sources) &&
		b.chunkMaxSize == m.Thanos.IndexStats.ChunkMaxSize && b.seriesSize == m.Thanos.IndexStats.SeriesMaxSize &&
		labels.Equal(b.external, m.Labels())
}

// segmentIndex is the number of a segment file as chunk references count it.
func segmentIndex(name string) (uint32, bool) {
	n := uint64(0)
	for _, c := range name {
		if c < '0' || c > '9' || n > math.MaxUint32/10 {
			return 0, false
		}
		n = 10*n + uint64(c-'0')
	}
	return uint32(n - 1), len(name) > 0 && n > 0
}

// chunksObject is the object of a segment.
func (b *openBlock) chunksObject(segment uint32) string {
	return block.ChunksObject(b.id, int(segment)+1)
}

// segmentEnd is where a segment ends: MaxInt64 if that is not known.
func (b *openBlock) segmentEnd(segment uint32) int64 {
	if size := b.segmentSize(segment); size > 0 {
		return size
	}
	return math.MaxInt64
}

// segmentSize is the size of a segment in bytes, 0 if that is not known.
func (b *openBlock) segmentSize(segment uint32) int64 {
	if int64(segment) >= int64(len(b.segments)) {
		return 0
	}
	return b.segments[segment]
}

func (b *openBlock) indexObject() string { return block.IndexObject(b.id) }

// index and segment are the objects as they are read from.
func (b *openBlock) index() blockObject {
	return blockObject{name: b.indexObject(), version: b.version(), size: b.indexSize}
}

func (b *openBlock) segment(n uint32) blockObject {
	return blockObject{name: b.chunksObject(n), version: b.version(), size: b.segmentSize(n)}
}

// version tells the content of the block's objects from any other.
func (b *openBlock) version() string {
	if at := b.rewritten.Load(); at != 0 {
		return b.content + "/" + strconv.FormatInt(at, 36)
	}
	return b.content
}

// lastWritten is when the youngest of the objects was, one that was repaired since
// the block was opened included; zero if unknown.
func (b *openBlock) lastWritten() time.Time {
	if at := b.rewritten.Load(); at != 0 && time.Unix(0, at).After(b.written) {
		return time.Unix(0, at)
	}
	return b.written
}

// overlaps tells whether the block may have samples in [mint, maxt].
func (b *openBlock) overlaps(mint, maxt int64) bool {
	return b.minTime <= maxt && mint < b.maxTime
}

// retain adds a reference. The caller must know that there is one.
func (b *openBlock) retain() { b.refs.Add(1) }

// release gives a reference back.
func (b *openBlock) release() {
	if b.refs.Add(-1) > 0 {
		return
	}
	b.header.close()
	if b.src.dirs.leave(b.dir, b.gone.Load()) {
		b.src.headers.removed(b.headerPath())
	}
}

// drop gives the view's reference back because the block has left the bucket.
func (b *openBlock) drop() {
	b.gone.Store(true)
	b.src.quarantine.forget(b)
	b.release()
}

// headerDirs knows which directories of headers are in use.
type headerDirs struct {
	mu    sync.Mutex // held while a directory is removed; guards users
	users map[string]int
}

func (d *headerDirs) use(dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users == nil {
		d.users = map[string]int{}
	}
	d.users[dir]++
}

// leave removes what is in the directory if its last user wants it gone, and
// says whether it did.
func (d *headerDirs) leave(dir string, gone bool) (removed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users[dir]--
	if d.users[dir] > 0 {
		return false
	}
	delete(d.users, dir)
	if gone {
		removeHeader(dir)
	}
	return gone
}

const headerFilename = "index-header"

// removeHeader removes a block's header and what a crash left of the building
// of one. It removes nothing else, whatever directory the host has given us.
func removeHeader(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Name() == headerFilename || strings.HasPrefix(e.Name(), headerFilename+".tmp-") {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	os.Remove(dir) // unless something else is in there
}
