package blocktest

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/thanos-io/objstore"
)

func TestBlockHoldsWhatWasDescribed(t *testing.T) {
	dir := t.TempDir()
	b := Block{
		ID: ulid.MustParse("01ARZ3NDEKTSV4RRFFQ69G5FAV"), MinTime: 0, MaxTime: 7_200_000,
		External: labels.FromStrings("replica", "a"), SegmentSize: 1024,
		Series: []Series{
			{labels.FromStrings("__name__", "up"), append(Floats(0, 3_600_000, 15_000, 1), Stale(3_600_000))},
			{labels.FromStrings("__name__", "h"), append(Samples(0, 3_600_000, 60_000, Histogram), StaleHistogram(3_600_000))},
			{labels.FromStrings("__name__", "fh"), Samples(0, 600_000, 60_000, FloatHistogram)},
			{labels.FromStrings("__name__", "nhcb"), Samples(0, 600_000, 60_000, CustomHistogram)},
			{labels.FromStrings("__name__", "nhcbf"), Samples(0, 600_000, 60_000, CustomFloatHistogram)},
			{labels.FromStrings("__name__", "mixed"), []Sample{Float(1, 1), Histogram(2, 2), Float(3, 3), FloatHistogram(4, 4)}},
		},
	}
	id := Write(t, dir, b)

	block, err := tsdb.OpenBlock(nil, filepath.Join(dir, id.String()), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer block.Close()
	if m := block.Meta(); m.ULID != b.ID || m.MinTime != 0 || m.MaxTime != 7_200_000 || m.Compaction.Level != 1 {
		t.Errorf("meta is %+v", m)
	}
	q, err := tsdb.NewBlockQuerier(block, math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, s := range b.Series {
		set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", s.Labels.Get("__name__")))
		if !set.Next() {
			t.Fatalf("no series %s: %v", s.Labels, set.Err())
		}
		it := set.At().Iterator(nil)
		for _, want := range s.Samples {
			typ := it.Next()
			if typ == chunkenc.ValNone || it.AtT() != want.T || int(typ)-1 != want.kind() {
				t.Fatalf("%s: sample of type %s where one of kind %d at %d belongs", s.Labels, typ, want.kind(), want.T)
			}
			if typ == chunkenc.ValFloat {
				if _, v := it.At(); v != want.V && !(value.IsStaleNaN(v) && value.IsStaleNaN(want.V)) {
					t.Errorf("%s at %d: %v, want %v", s.Labels, want.T, v, want.V)
				}
			}
		}
		if it.Next() != chunkenc.ValNone {
			t.Errorf("%s: more samples than written", s.Labels)
		}
	}
}

func TestUploadAndRemove(t *testing.T) {
	bkt := objstore.NewInMemBucket()
	id := Put(t, bkt, Block{External: labels.FromStrings("a", "b"), SegmentSize: 512, Series: []Series{
		{labels.FromStrings("x", "1"), Floats(0, 10_000_000, 1000, 0)},
	}})
	objects := bkt.Objects()
	for _, name := range []string{"meta.json", "index", "chunks/000001", "chunks/000002"} {
		if _, ok := objects[id.String()+"/"+name]; !ok {
			t.Errorf("%s is not in the bucket", name)
		}
	}
	var meta struct {
		Thanos struct {
			Labels map[string]string
			Files  []struct {
				RelPath   string `json:"rel_path"`
				SizeBytes int    `json:"size_bytes"`
			}
		}
	}
	if err := json.Unmarshal(objects[id.String()+"/meta.json"], &meta); err != nil {
		t.Fatal(err)
	}
	if meta.Thanos.Labels["a"] != "b" {
		t.Errorf("external labels are %v", meta.Thanos.Labels)
	}
	for _, f := range meta.Thanos.Files {
		if f.RelPath != "meta.json" && len(objects[id.String()+"/"+f.RelPath]) != f.SizeBytes {
			t.Errorf("%s: meta.json says %d bytes", f.RelPath, f.SizeBytes)
		}
	}
	Remove(t, bkt, id)
	if n := len(bkt.Objects()); n != 0 {
		t.Errorf("%d objects left", n)
	}
}

func TestXOR2(t *testing.T) {
	dir := t.TempDir()
	id := Write(t, dir, Block{XOR2: true, Series: []Series{{labels.FromStrings("x", "1"), Floats(0, 1000, 10, 0)}}})
	raw, err := os.ReadFile(filepath.Join(dir, id.String(), "chunks", "000001"))
	if err != nil {
		t.Fatal(err)
	}
	if enc := chunkenc.Encoding(raw[10]); enc != chunkenc.EncXOR2 && chunkenc.Encoding(raw[9]) != chunkenc.EncXOR2 {
		t.Errorf("first chunk has encoding %v", enc)
	}
}
