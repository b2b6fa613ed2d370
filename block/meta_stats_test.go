package block

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// What is noted of a shipped block are the sizes that its largest series entry and
// its largest chunk have by Prometheus' readers, wherever these are: among others,
// the last of a segment, the last of all.
func TestShippedIndexStats(t *testing.T) {
	for _, large := range []int{0, 1, 7, 12, 13, 14, 15, 22, 38, 39} {
		b := blocktest.Block{SegmentSize: 500, SamplesPerChunk: 20}
		for n := range 40 {
			s := blocktest.Series{Labels: labels.FromStrings("__name__", "m", "n", fmt.Sprintf("%02d", n)), Samples: blocktest.Floats(0, 600, 15, 1)}
			if n == large {
				s.Samples = blocktest.Samples(0, 600, 15, blocktest.Histogram)
				b := labels.NewBuilder(s.Labels)
				for i := range 20 {
					b.Set(fmt.Sprint("z", i), "1")
				}
				s.Labels = b.Labels()
			}
			b.Series = append(b.Series, s)
		}
		dir := t.TempDir()
		id := blocktest.Write(t, dir, b)
		mem := objstoretest.NewMemory()
		must(t, ship(t, mem, dir, ShipperOptions{}))
		m, err := ReadMeta(t.Context(), mem, id)
		must(t, err)
		want := largestParts(t, filepath.Join(dir, id.String()))
		if m.Thanos.IndexStats != want || want.ChunkMaxSize == 0 || len(m.Segments()) < 2 {
			t.Errorf("largest series %d: %+v is noted, want %+v", large, m.Thanos.IndexStats, want)
		}
		v := fetch(t, newTestFetcher(t, mem, FetcherOptions{}))
		if got := v.Find(id).Thanos.IndexStats; got != want {
			t.Errorf("the index of the bucket tells %+v, want %+v", got, want)
		}
	}
}

func largestParts(t *testing.T, dir string) (stats IndexStats) {
	t.Helper()
	r, err := index.NewFileReader(filepath.Join(dir, IndexFilename), index.DecodePostingsRaw)
	must(t, err)
	defer r.Close()
	content, err := os.ReadFile(filepath.Join(dir, IndexFilename))
	must(t, err)
	p, err := r.Postings(t.Context(), "", "")
	must(t, err)
	for p.Next() {
		at := int(p.At()) * 16
		length, n := binary.Uvarint(content[at:])
		stats.SeriesMaxSize = max(stats.SeriesMaxSize, int64(n+int(length)+4+15)/16*16)
		var metas []chunks.Meta
		var builder labels.ScratchBuilder
		must(t, r.Series(p.At(), &builder, &metas))
		for _, c := range metas {
			segment, err := os.ReadFile(filepath.Join(dir, ChunksDirname, SegmentName(int(c.Ref>>32)+1)))
			must(t, err)
			length, n := binary.Uvarint(segment[uint32(c.Ref):])
			stats.ChunkMaxSize = max(stats.ChunkMaxSize, int64(n)+1+int64(length)+4)
		}
	}
	must(t, p.Err())
	return stats
}

// A block whose index makes no sense is shipped without that note.
func TestShippedWithoutIndexStats(t *testing.T) {
	dir := t.TempDir()
	id := blocktest.Write(t, dir, blocktest.Block{Series: []blocktest.Series{{Labels: testLabels(), Samples: blocktest.Floats(0, 1000, 10, 1)}}})
	path := filepath.Join(dir, id.String(), IndexFilename)
	content, err := os.ReadFile(path)
	must(t, err)
	toc, err := index.NewTOCFromByteSlice(byteSlice(content))
	must(t, err)
	copy(content[toc.Series:], strings.Repeat("\xff", 24))
	must(t, os.WriteFile(path, content, 0o644))
	mem := objstoretest.NewMemory()
	must(t, ship(t, mem, dir, ShipperOptions{}))
	m, err := ReadMeta(t.Context(), mem, id)
	must(t, err)
	if m.Thanos.IndexStats != (IndexStats{}) {
		t.Errorf("%+v is noted", m.Thanos.IndexStats)
	}
}
