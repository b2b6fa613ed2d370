package block

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
	"unsafe"

	"github.com/oklog/ulid/v2"
)

// entry is what an index tells about one block.
func (w *indexWire) entry(e *Entry) {
	w.id(&e.ID)
	known, marked := e.Meta != nil, e.Deletion != nil
	w.flags(&e.HasMeta, &known, &marked)
	small(w, &e.Marks)
	made := ulid.Time(e.ID.Time())
	w.written(&e.MetaWritten, made)
	w.written(&e.DataWritten, made)
	if w.reading && known {
		w.memory(1, int(unsafe.Sizeof(Meta{})))
		e.Meta = &Meta{ULID: e.ID}
	}
	if w.reading && marked {
		w.memory(1, int(unsafe.Sizeof(Mark{})))
		e.Deletion = &Mark{Kind: DeletionMark, ID: e.ID}
	}
	if known {
		w.meta(e.Meta)
	}
	if marked {
		w.deletion(e.Deletion)
	}
	if w.reading && w.err == nil && known {
		if err := e.Meta.Validate(); err != nil {
			w.fail(fmt.Errorf("block %s: %w", e.ID, err))
		}
	}
}

// written is the time of an object, told as the distance to a time that is not
// far. What a millisecond lacks is 0 in most buckets.
func (w *indexWire) written(t *time.Time, near time.Time) {
	unset := t.IsZero()
	w.flags(&unset)
	if unset {
		return
	}
	ms, rest := t.UnixMilli()-near.UnixMilli(), int64(t.Nanosecond()%1e6)
	w.int(&ms)
	w.int(&rest)
	if w.reading && (ms < -1<<53 || ms > 1<<53 || rest < 0 || rest >= 1e6) {
		w.fail(fmt.Errorf("an object was written %d ms and %d ns from its block's time", ms, rest))
	}
	if w.reading && w.err == nil {
		*t = time.UnixMilli(near.UnixMilli() + ms).Add(time.Duration(rest)).UTC()
	}
}

func (w *indexWire) deletion(m *Mark) {
	seconds := m.Time.Unix()
	w.int(&seconds)
	w.string(&m.Details)
	if w.reading {
		m.Time = time.Unix(seconds, 0)
	}
}

// meta is all of a Meta but its ULID. Times are told as distances, which are
// small numbers for most blocks.
func (w *indexWire) meta(m *Meta) {
	made := int64(m.ULID.Time())
	ago, long := made-m.MinTime, m.MaxTime-m.MinTime
	w.int(&ago)
	w.int(&long)
	if w.reading {
		m.MinTime, m.MaxTime = made-ago, made-ago+long
	}
	small(w, &m.Version)
	for _, n := range []*uint64{
		&m.Stats.NumSamples, &m.Stats.NumFloatSamples, &m.Stats.NumHistogramSamples,
		&m.Stats.NumSeries, &m.Stats.NumChunks, &m.Stats.NumTombstones,
	} {
		w.uint(n)
	}
	w.compaction(m)
	w.thanos(&m.Thanos)
	w.unknown(&m.Unknown)
}

func (w *indexWire) compaction(m *Meta) {
	c := &m.Compaction
	small(w, &c.Level)
	own := len(c.Sources) == 1 && c.Sources[0] == m.ULID
	w.flags(&c.Deletable, &c.Failed, &own)
	switch {
	case !own:
		wireSlice(w, &c.Sources, len(ulid.ULID{}), w.id)
	case w.reading:
		c.Sources = []ulid.ULID{m.ULID}
	}
	wireSlice(w, &c.Parents, len(ulid.ULID{})+2, func(p *Parent) {
		w.id(&p.ULID)
		w.int(&p.MinTime)
		w.int(&p.MaxTime)
	})
	wireSlice(w, &c.Hints, 1, w.string)
}

func (w *indexWire) thanos(t *Thanos) {
	small(w, &t.Version)
	if none := t.Labels == nil; !w.flag(none) {
		w.set(&t.Labels)
	}
	w.int(&t.Downsample.Resolution)
	w.string(&t.Source)
	wireSlice(w, &t.Files, 3, w.file)
	w.segmentFiles(&t.SegmentFiles, len(t.Files))
	wireSlice(w, &t.Rewrites, 1, func(r *json.RawMessage) { w.bytes((*[]byte)(r)) })
	w.int(&t.IndexStats.SeriesMaxSize)
	w.int(&t.IndexStats.ChunkMaxSize)
	w.bytes((*[]byte)(&t.Extensions))
	w.time(&t.UploadTime)
	w.unknown(&t.Unknown)
}

func (w *indexWire) file(f *File) {
	w.string(&f.RelPath)
	w.int(&f.SizeBytes)
	hashed := f.Hash != nil
	w.flags(&hashed)
	if !hashed {
		return
	}
	if w.reading {
		w.memory(1, int(unsafe.Sizeof(FileHash{})))
		f.Hash = &FileHash{}
	}
	w.string(&f.Hash.Func)
	w.text(&f.Hash.Value)
}

// segmentFiles are nearly always 000001 to the last, and all among the files:
// then they are told by their number, and blocks with as many share them in
// memory.
func (w *indexWire) segmentFiles(names *[]string, files int) {
	usual := len(*names) <= files
	for i, name := range *names {
		usual = usual && name == SegmentName(i+1)
	}
	w.flags(&usual)
	if !usual {
		wireSlice(w, names, 1, w.string)
		return
	}
	n := uint64(len(*names))
	w.uint(&n)
	switch {
	case !w.reading || n == 0:
	case n > uint64(files):
		w.fail(fmt.Errorf("%d segments among %d files", n, files))
	default:
		*names = w.usualSegments(int(n))
	}
}

// usualSegments returns the first n names, and has them once each.
func (w *indexWire) usualSegments(n int) []string {
	for len(w.segments) < n {
		w.segments = append(w.segments, SegmentName(len(w.segments)+1))
	}
	return w.segments[:n:n]
}

// time keeps the zone's offset, as JSON does.
func (w *indexWire) time(t *time.Time) {
	unset := t.IsZero()
	w.flags(&unset)
	if unset {
		return
	}
	_, zone := t.Zone()
	seconds, nanos, offset := t.Unix(), int64(t.Nanosecond()), int64(zone)
	w.int(&seconds)
	w.int(&nanos)
	w.int(&offset)
	switch {
	case !w.reading:
	case offset == 0:
		*t = time.Unix(seconds, nanos).UTC()
	default:
		*t = time.Unix(seconds, nanos).In(time.FixedZone("", int(offset)))
	}
}

// unknown are fields of JSON objects that this package does not know.
func (w *indexWire) unknown(fields *map[string]json.RawMessage) {
	names := slices.Sorted(maps.Keys(*fields))
	wireSlice(w, &names, 2, w.string)
	if w.reading && len(names) > 0 {
		w.memory(len(names), mapEntrySize)
		*fields = make(map[string]json.RawMessage, len(names))
	}
	for _, name := range names {
		value := []byte((*fields)[name])
		w.bytes(&value)
		if w.reading {
			(*fields)[name] = value
		}
	}
}
