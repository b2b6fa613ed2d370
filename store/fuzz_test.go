package store

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// mixedBlock has samples of all kinds, in several chunks and segments.
func mixedBlock() blocktest.Block {
	return blocktest.Block{
		MinTime: 0, MaxTime: 10_000, External: labels.FromStrings("e", "1"), SamplesPerChunk: 10, SegmentSize: 700,
		Series: []blocktest.Series{
			{Labels: labels.FromStrings("a", "1"), Samples: append(blocktest.Floats(0, 500, 10, 1), blocktest.Stale(500))},
			{Labels: labels.FromStrings("a", "1", "b", "2"), Samples: blocktest.Samples(0, 500, 20, blocktest.Histogram)},
			{Labels: labels.FromStrings("a", "2"), Samples: blocktest.Samples(0, 500, 20, blocktest.FloatHistogram)},
			{Labels: labels.FromStrings("b", "2"), Samples: blocktest.Samples(0, 500, 20, blocktest.CustomHistogram)},
			{Labels: labels.FromStrings("c", strings.Repeat("long", 50)), Samples: blocktest.Floats(9000, 9010, 1, 0)},
		},
	}
}

// FuzzMutatedBlock changes any byte of any object of a real block. Checksums
// must see to it that an answer is right or an error, whatever was changed.
func FuzzMutatedBlock(f *testing.F) {
	bkt := objstoretest.NewMemory()
	id := blocktest.Put(f, bkt, mixedBlock())
	objects := []string{id.String() + "/index", id.String() + "/chunks/000001", id.String() + "/chunks/000002"}
	var want []string
	ask := func(tb testing.TB, bkt *objstoretest.Memory) (answers []string) {
		b := openOver(tb, bkt, tb.TempDir(), Options{})
		defer b.Close()
		for _, name := range []string{"a", "b", "c"} {
			got, _, err := read(tb.Context(), b, 0, 10_000, like(name, ".+"))
			if err != nil {
				got = "error"
			}
			answers = append(answers, got)
		}
		return answers
	}
	want = ask(f, bkt)
	for i := range 60 {
		f.Add(i%3, i*97, byte(1<<(i%8)), i%5 == 4)
	}
	f.Fuzz(func(t *testing.T, object, at int, flip byte, cut bool) {
		name := objects[uint(object)%uint(len(objects))]
		mutated := bkt.Copy()
		content := bytes.Clone(bkt.Objects()[name])
		at = int(uint(at) % uint(len(content)))
		if content[at] ^= flip; cut {
			content = content[:at]
		}
		mutated.Put(name, content)
		for i, got := range ask(t, mutated) {
			if got != "error" && got != want[i] {
				t.Errorf("%s changed at %d: got %s\nwant %s", name, at, got, want[i])
			}
		}
	})
}

// FuzzSeriesEntry decodes what passed for an entry, with its checksum made
// right.
func FuzzSeriesEntry(f *testing.F) {
	for _, body := range realEntries(f) {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		raw := binary.AppendUvarint(nil, uint64(len(body)))
		head := len(raw)
		raw = append(raw, body...)
		raw = binary.BigEndian.AppendUint32(raw, castagnoli(raw[head:]))
		for n := range raw {
			if got, need, err := entryBody(raw[:n]); got != nil || err == nil && need <= int64(n) {
				t.Fatalf("%d of %d bytes: body %v, need %d", n, len(raw), got, need)
			}
		}
		got, _, err := entryBody(append(raw, 1, 2, 3))
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("the body comes back as %v, %v", got, err)
		}
		var e seriesEntry
		if e.decode(body) != nil {
			return
		}
		for i, m := range e.chunks {
			if m.MaxTime < m.MinTime || i > 0 && m.MinTime < e.chunks[i-1].MaxTime {
				t.Errorf("chunks out of order: %v", e.chunks)
			}
		}
	})
}

func realEntries(tb testing.TB) (bodies [][]byte) {
	bkt := objstoretest.NewMemory()
	blocktest.Put(tb, bkt, mixedBlock())
	b := openOver(tb, bkt, tb.TempDir(), Options{})
	q, err := b.ChunkQuerier(0, 10_000)
	if err != nil {
		tb.Fatal(err)
	}
	defer q.Close()
	block := q.(*querier).streams[0].blocks[0]
	header, err := block.header.get(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	refs, err := (&blockReader{block: block}).postings(tb.Context(), nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	entries := entryReader{block: block, header: header, readBytes: 1 << 20}
	if bodies, err = entries.fetch(tb.Context(), refs); err != nil {
		tb.Fatal(err)
	}
	return bodies
}

// FuzzChunkRecord decodes what passed for a chunk, with its checksum made
// right, and iterates over what is not refused, which must not panic or take
// much more memory than the chunk has bytes.
func FuzzChunkRecord(f *testing.F) {
	bkt := objstoretest.NewMemory()
	id := blocktest.Put(f, bkt, mixedBlock())
	segment := bkt.Objects()[id.String()+"/chunks/000001"][segmentStart:]
	for len(segment) > 0 {
		need, err := checkRecord(segment)
		if err != nil || need > int64(len(segment)) {
			f.Fatal(err)
		}
		enc, data := recordContent(segment[:need])
		f.Add(byte(enc), bytes.Clone(data))
		segment = segment[need:]
	}
	f.Add(byte(0xff), []byte("aggregates"))
	for _, crafted := range craftedHistograms() {
		f.Add(byte(crafted.enc), crafted.data)
	}
	f.Fuzz(func(t *testing.T, enc byte, data []byte) {
		record := binary.AppendUvarint(nil, uint64(len(data)))
		head := len(record)
		record = append(append(record, enc), data...)
		record = binary.BigEndian.AppendUint32(record, castagnoli(record[head:]))
		for n := range record {
			if need, err := checkRecord(record[:n]); err != nil || need <= int64(n) {
				t.Fatalf("%d of %d bytes: need %d, %v", n, len(record), need, err)
			}
		}
		if need, err := checkRecord(append(record, 9)); err != nil || need != int64(len(record)) {
			t.Fatalf("need %d of %d, %v", need, len(record), err)
		}
		gotEnc, gotData := recordContent(record)
		if byte(gotEnc) != enc || !bytes.Equal(gotData, data) {
			t.Fatalf("the content comes back as %d %v", gotEnc, gotData)
		}
		chunk, err := newChunk(gotEnc, gotData)
		if err != nil {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		it := chunk.Iterator(nil)
		var h *histogram.Histogram
		var fh *histogram.FloatHistogram
	samples:
		for range 1000 {
			switch it.Next() {
			case chunkenc.ValNone:
				break samples
			case chunkenc.ValHistogram:
				// Into the one before, so that it is not for each sample.
				_, h = it.AtHistogram(h)
			case chunkenc.ValFloatHistogram:
				_, fh = it.AtFloatHistogram(fh)
			}
		}
		runtime.ReadMemStats(&after)
		// Three times 8 bytes for a bucket of one bit, with slices that grow.
		if took, most := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+1000*len(data)); took > most {
			t.Errorf("%d bytes taken for a chunk of %d", took, len(data))
		}
	})
}
