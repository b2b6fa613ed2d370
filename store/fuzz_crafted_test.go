package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/readopts"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// sealed is a part of an object that a checksum follows.
type sealed struct{ from, to int }

// sealedParts finds those of a healthy index or chunk file.
func sealedParts(tb testing.TB, content []byte) (parts []sealed) {
	tb.Helper()
	add := func(from, length int) int {
		if from+length+4 > len(content) || castagnoli(content[from:from+length]) != binary.BigEndian.Uint32(content[from+length:]) {
			tb.Fatalf("no checksum after the %d bytes at %d", length, from)
		}
		parts = append(parts, sealed{from, from + length})
		return from + length + 4
	}
	length32 := func(at int) int { return int(binary.BigEndian.Uint32(content[at:])) }
	if length32(0) != 0xBAAAD700 {
		for at := segmentStart; at < len(content); {
			length, n := binary.Uvarint(content[at:])
			at = add(at+n, 1+int(length))
		}
		return parts
	}
	toc := content[len(content)-52:]
	section := func(i int) int { return int(binary.BigEndian.Uint64(toc[8*i:])) }
	symbols, series, postings, table := section(0), section(1), section(4), section(5)
	add(symbols+4, length32(symbols))
	for at := series; ; {
		at = (at + seriesAlign - 1) / seriesAlign * seriesAlign
		if at >= postings {
			break
		}
		length, n := binary.Uvarint(content[at:])
		if length == 0 {
			break // padding
		}
		at = add(at+n, int(length))
	}
	for at := (postings + 3) / 4 * 4; at < table; {
		at = (add(at+4, length32(at)) + 3) / 4 * 4
	}
	add(table+4, length32(table))
	add(len(content)-52, 48)
	return parts
}

// seal makes the checksums right.
func seal(content []byte, parts []sealed) {
	for _, p := range parts {
		binary.BigEndian.PutUint32(content[p.to:], castagnoli(content[p.from:p.to]))
	}
}

// craftable is a block and what of it may be changed.
type craftable struct {
	bkt     *objstoretest.Memory
	objects []string
	parts   [][]sealed
	size    int
}

func newCraftable(tb testing.TB, put func(testing.TB, *objstoretest.Memory) ulid.ULID) craftable {
	tb.Helper()
	c := craftable{bkt: objstoretest.NewMemory()}
	id := put(tb, c.bkt).String()
	for _, name := range []string{"/index", "/chunks/000001", "/chunks/000002"} {
		if content := c.bkt.Objects()[id+name]; content != nil {
			c.objects, c.parts = append(c.objects, id+name), append(c.parts, sealedParts(tb, content))
			c.size += len(content)
		}
	}
	return c
}

// craft applies edits of five bytes each: which object, where, and the new byte.
func (c craftable) craft(edits []byte) *objstoretest.Memory {
	bkt := c.bkt.Copy()
	for ; len(edits) >= 5; edits = edits[5:] {
		i := int(edits[0]) % len(c.objects)
		content := bytes.Clone(bkt.Objects()[c.objects[i]])
		content[int(binary.BigEndian.Uint32(append([]byte{0}, edits[1:4]...)))%len(content)] = edits[4]
		seal(content, c.parts[i])
		bkt.Put(c.objects[i], content)
	}
	return bkt
}

// readEverything asks in all ways there are, and gives up no error.
func readEverything(ctx context.Context, tb testing.TB, bkt *objstoretest.Memory) {
	b := openOver(tb, bkt, tb.TempDir(), Options{Quarantine: -1})
	defer b.Close()
	q, err := b.ChunkQuerier(0, 1<<40)
	if err != nil {
		tb.Fatal(err)
	}
	defer q.Close()
	ctx = readopts.With(ctx, readopts.Options{MaxResolution: time.Hour, Partial: true})
	for _, function := range []string{"", "rate", "max"} {
		set := storage.NewSeriesSetFromChunkSeriesSet(q.Select(ctx, true, &storage.SelectHints{End: 1 << 40, Func: function}, like("__name__", ".*")))
		for set.Next() {
			iterate(set.At().Iterator(nil))
		}
	}
	for _, matchers := range [][]*labels.Matcher{nil, {like("a", ".+")}, {equal("b", "2")}} {
		_, _, _ = q.LabelNames(ctx, nil, matchers...)
		_, _, _ = q.LabelValues(ctx, "a", nil, matchers...)
	}
}

func iterate(it chunkenc.Iterator) {
	var h *histogram.Histogram
	var fh *histogram.FloatHistogram
	for range 100_000 {
		switch it.Next() {
		case chunkenc.ValNone:
			return
		case chunkenc.ValHistogram:
			_, h = it.AtHistogram(h)
		case chunkenc.ValFloatHistogram:
			_, fh = it.AtFloatHistogram(fh)
		}
	}
}

// FuzzCraftedBlock changes real blocks, a raw and a downsampled one, and makes the
// checksums right again, as who can write into the bucket might. Any answer will do,
// but it must come, and must not take more memory than a multiple of what a healthy
// block takes.
func FuzzCraftedBlock(f *testing.F) {
	kinds := []craftable{
		newCraftable(f, func(tb testing.TB, bkt *objstoretest.Memory) ulid.ULID { return blocktest.Put(tb, bkt, mixedBlock()) }),
		newCraftable(f, func(tb testing.TB, bkt *objstoretest.Memory) ulid.ULID {
			return blocktest.PutDownsampled(tb, bkt, blocktest.Block{
				MinTime: 0, MaxTime: 2 * hour, Resolution: blocktest.FiveMinutes, SamplesPerChunk: 6, External: labels.FromStrings("e", "1"),
				Series: []blocktest.Series{
					{Labels: labels.FromStrings("a", "1", "b", "2"), Samples: blocktest.Floats(0, 2*hour, minute, 1)},
					{Labels: labels.FromStrings("a", "2"), Samples: blocktest.Samples(0, 2*hour, minute, blocktest.FloatHistogram)},
				},
			})
		}),
	}
	healthy := make([]uint64, len(kinds))
	for i, kind := range kinds {
		healthy[i] = allocated(func() { readEverything(f.Context(), f, kind.bkt) })
	}
	for i := range 40 {
		f.Add(i%2 == 1, []byte{byte(i / 2), byte(0), byte(i * 11), byte(i * 29), byte(1 << (i % 8))})
	}
	f.Add(true, []byte(strings.Repeat("\x00\x00\x01\x10\xff", 3)))
	f.Fuzz(func(t *testing.T, downsampled bool, edits []byte) {
		kind := 0
		if downsampled {
			kind = 1
		}
		bkt := kinds[kind].craft(edits[:min(len(edits), 100)])
		took := allocated(func() { readEverything(t.Context(), t, bkt) })
		if most := 3*healthy[kind] + 1000*uint64(kinds[kind].size); took > most {
			t.Errorf("%d bytes taken for a block of %d, which takes %d when it is healthy", took, kinds[kind].size, healthy[kind])
		}
	})
}

// allocated returns how many bytes f takes from the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A block whose few symbols stand for many long labels must not be decoded into
// more memory than it is read with.
func TestLongLabelsComeInBoundedBatches(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	var all []blocktest.Series
	for i := range 40 {
		all = append(all, blocktest.Series{
			Labels: labels.FromStrings("a", long, "i", strings.Repeat("i", i+1)), Samples: blocktest.Floats(0, 100, 10, 0),
		})
	}
	bkt := objstoretest.NewMemory()
	id := blocktest.Put(t, bkt, blocktest.Block{External: labels.FromStrings("e", "1"), Series: all})
	r := &blockReader{block: pinned(t, openOver(t, bkt, t.TempDir(), Options{}), id), readBytes: 64 << 20}
	defer r.block.release()
	header, err := r.header(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	refs, err := r.postings(t.Context(), nil, &readcost.Charge{})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = newSeriesReader(r.block, candidates{header: header}, selection{maxt: 100}, 64<<20, 64<<20).each(t.Context(), refs, func(batch []series) error {
		size := 0
		for _, s := range batch {
			if want := strings.Repeat("i", seen+1); s.labels.Get("i") != want {
				t.Errorf("series %d has the label %q", seen, s.labels.Get("i"))
			}
			size += len(s.labels.Get("a"))
			seen++
		}
		if size > mostLabels {
			t.Errorf("a batch has %d bytes of labels", size)
		}
		return nil
	})
	if err != nil || seen != len(all) {
		t.Errorf("%d series, %v", seen, err)
	}
}
