package block

import (
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/filesystem"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// A block that Prometheus wrote, shipped and downloaded, is one that Prometheus
// reads.
func TestRealBlock(t *testing.T) {
	fs, err := filesystem.NewBucket(t.TempDir())
	must(t, err)
	retried, err := objstore.WithRetry(objstoretest.NewMemory(), objstore.RetryOptions{})
	must(t, err)
	for name, bkt := range map[string]objstore.Bucket{
		"memory": objstoretest.NewMemory(), "filesystem": fs,
		"retried memory under a prefix": objstore.WithPrefix(retried, "a/b"),
	} {
		t.Run(name, func(t *testing.T) { testRealBlock(t, bkt) })
	}
}

func testRealBlock(t *testing.T, bkt objstore.Bucket) {
	dir := t.TempDir()
	id := blocktest.Write(t, dir, blocktest.Block{Series: []blocktest.Series{
		{Labels: labels.FromStrings("__name__", "up", "job", "a"), Samples: blocktest.Floats(0, 3_600_000, 15_000, 1)},
		{Labels: labels.FromStrings("__name__", "up", "job", "b"), Samples: []blocktest.Sample{blocktest.Histogram(1000, 1)}},
	}})
	must(t, ship(t, bkt, dir, ShipperOptions{}))
	v := fetch(t, newTestFetcher(t, bkt, FetcherOptions{}))
	if len(v.Blocks) != 1 || v.Blocks[0].ULID != id || !labels.Equal(v.Blocks[0].Labels(), testLabels()) {
		t.Fatalf("blocks in the bucket: %+v", v.Blocks)
	}

	parent := t.TempDir()
	m, err := Download(t.Context(), bkt, id, parent, DownloadOptions{})
	must(t, err)
	b, err := tsdb.OpenBlock(nil, filepath.Join(parent, id.String()), nil, nil)
	must(t, err)
	if got := b.Meta(); got.ULID != id || got.MinTime != m.MinTime || got.MaxTime != m.MaxTime || got.Stats.NumSeries != 2 {
		t.Errorf("Prometheus sees %+v", got)
	}
	q, err := tsdb.NewBlockChunkQuerier(b, m.MinTime, m.MaxTime)
	must(t, err)
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "up"))
	n := 0
	for set.Next() {
		n++
	}
	must(t, set.Err())
	must(t, q.Close())
	must(t, b.Close())
	if n != 2 {
		t.Errorf("%d series, want 2", n)
	}

	must(t, Delete(t.Context(), bkt, id))
	_, err = ReadMeta(t.Context(), bkt, id)
	wantErrorIs(t, err, ErrMetaNotFound)
	if v := fetch(t, newTestFetcher(t, bkt, FetcherOptions{})); len(v.Blocks)+len(v.Partial) != 0 {
		t.Errorf("after the deletion there is %+v", v)
	}
}
