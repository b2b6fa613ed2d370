package dedup

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// pairWithGap is a pair of which chunks come out whole, undecoded and anew.
func pairWithGap(tb testing.TB) storage.ChunkSeries {
	a, b := line(0, 15, 2000), line(7, 15, 1200)
	return Merge(replica(tb, slices.Concat(a[:400], a[430:])), replica(tb, b))
}

func chunkPoints(tb testing.TB, it chunkenc.Iterator) (list []point) {
	tb.Helper()
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		list = append(list, pointAt(it, typ))
	}
	if it.Err() != nil {
		tb.Error(it.Err())
	}
	return list
}

// Chunks have their samples whenever they are read, and however often.
func TestChunksAreReadAtAnyTime(t *testing.T) {
	series := pairWithGap(t)
	want, err := readChunkPoints(series)
	if err != nil {
		t.Fatal(err)
	}
	var (
		list                  []chunks.Meta
		once, twice, much     []point
		first, second, behind chunkenc.Iterator // reused
	)
	for it := series.Iterator(nil); it.Next(); {
		meta := it.At()
		list = append(list, meta)
		first = meta.Chunk.Iterator(first)
		once = append(once, chunkPoints(t, first)...)
		second = meta.Chunk.Iterator(second)
		twice = append(twice, chunkPoints(t, second)...)
		if n := len(list); n > 1 {
			behind = list[n-2].Chunk.Iterator(behind)
			much = append(much, chunkPoints(t, behind)...)
		}
	}
	behind = list[len(list)-1].Chunk.Iterator(behind)
	much = append(much, chunkPoints(t, behind)...)
	for i, got := range [][]point{once, twice, much} {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("read in way %d: got %v\nwant %v", i, got, want)
		}
	}
}

// Chunks may be read on other goroutines while the iterator that they are from
// goes on.
func TestChunksAreReadSideBySide(t *testing.T) {
	series := pairWithGap(t)
	want, err := readChunkPoints(series)
	if err != nil {
		t.Fatal(err)
	}
	todo, done := make(chan chunkenc.Chunk), make(chan []point)
	go func() {
		var (
			got     []point
			samples chunkenc.Iterator
		)
		for chunk := range todo {
			samples = chunk.Iterator(samples)
			got = append(got, chunkPoints(t, samples)...)
		}
		done <- got
	}()
	for it := series.Iterator(nil); it.Next(); {
		todo <- it.At().Chunk
	}
	close(todo)
	if got := <-done; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Who keeps chunks keeps their bytes, and no samples that were decoded to choose.
func TestChunksThatAreKeptHoldNoSamples(t *testing.T) {
	metas, err := readChunks(pairWithGap(t))
	if err != nil {
		t.Fatal(err)
	}
	lent := 0
	for _, meta := range metas {
		if chunk, ok := meta.Chunk.(*lentChunk); ok {
			lent++
			if chunk.from.Load() != nil {
				t.Errorf("the chunk at %d holds samples", meta.MinTime)
			}
		}
	}
	if lent == 0 {
		t.Error("no chunk was decoded and handed on")
	}
}
