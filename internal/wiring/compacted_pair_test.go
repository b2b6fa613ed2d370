package wiring

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/query/querytest"
	"github.com/varve-tsdb/varve/store"
)

// A compactor whose merge function is dedup.Merge writes a block of the blocks of a
// pair that holds, sample for sample, what a read of both shows: gauges, counters
// and histograms of two scrapers with different gaps.
func TestCompactedPairIsWhatReadsShow(t *testing.T) {
	pair, compacted := objstoretest.NewMemory(), objstoretest.NewMemory()
	work := t.TempDir()
	var dirs []string
	for i, series := range gappyReplicas() {
		histograms := blocktest.Series{Labels: labels.FromStrings("__name__", "histogram")}
		for _, s := range series[1].Samples {
			histograms.Samples = append(histograms.Samples, blocktest.Histogram(s.T, s.T/1000))
		}
		id := blocktest.Write(t, work, blocktest.Block{
			MinTime: 0, MaxTime: 2 * dayMillis, External: labels.FromStrings("replica", fmt.Sprint(i)), Series: append(series, histograms),
		})
		blocktest.Upload(t, pair, work, id)
		dirs = append(dirs, filepath.Join(work, id.String()))
	}
	compactInto(t, compacted, dirs)

	one := query.Samples(dedup.New(bucketOf(t, pair), dedup.Options{ReplicaLabels: []string{"replica"}}))
	offline := query.Samples(bucketOf(t, compacted))
	for _, metric := range []string{"gauge", "counter", "histogram"} {
		want, got := samplesOf(t, one, metric), samplesOf(t, offline, metric)
		if len(want) < 2500 || !slices.Equal(got, want) {
			t.Errorf("%s: %d samples were compacted, %d are read of the pair:\n%v\n%v", metric, len(got), len(want), got, want)
		}
	}
}

// compactInto makes one block of those in dirs, as Prometheus' compactor does with
// another merge function, and uploads it.
func compactInto(t *testing.T, bkt objstore.Bucket, dirs []string) {
	t.Helper()
	c, err := tsdb.NewLeveledCompactor(t.Context(), nil, slog.New(slog.DiscardHandler), []int64{2 * dayMillis}, nil, dedup.Merge)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	ids, err := c.Compact(out, dirs, nil)
	if err != nil || len(ids) != 1 {
		t.Fatalf("blocks %v, %v", ids, err)
	}
	if _, err := block.Upload(t.Context(), bkt, filepath.Join(out, ids[0].String()), block.UploadOptions{Labels: labels.FromStrings("cluster", "eu")}); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func bucketOf(t *testing.T, bkt objstore.Bucket) *store.Bucket {
	t.Helper()
	b, err := store.Open(bkt, t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// samplesOf returns the samples of the one series of a metric.
func samplesOf(t *testing.T, source storage.Queryable, metric string) (list []string) {
	t.Helper()
	q, err := source.Querier(0, 2*dayMillis)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", metric))
	for set.Next() {
		samples, err := querytest.ReadSamples(set.At().Iterator(nil))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			if s.Histogram != nil {
				// Where chunks begin, and with it what is known of resets, is not the same.
				s.Histogram.CounterResetHint = 0
				list = append(list, fmt.Sprint(s.T, s.Histogram))
				continue
			}
			list = append(list, fmt.Sprint(s.T, s.Float))
		}
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return list
}
