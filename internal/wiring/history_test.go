package wiring

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/varve-tsdb/varve/block"
)

// The history that cold reads are measured on: seven daily blocks of 5,000
// series at 30 seconds, 24 chunks of an hour each, 52 MB a block.
const (
	historyDays     = 7
	historySeries   = 5_000
	historyInterval = 30 * time.Second
	// historyVersion names the directory the blocks are kept in. Change it with
	// whatever changes them.
	historyVersion = "history-3"
)

// historyStart is midnight of the first day.
var historyStart = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func historyEnd() time.Time { return historyStart.AddDate(0, 0, historyDays) }

// historyDir returns a directory that is a bucket with the history. It is made
// once a machine.
func historyDir(tb testing.TB) string {
	tb.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		tb.Skipf("nowhere to keep the blocks: %v", err)
	}
	dir := filepath.Join(cache, "varve-bench", historyVersion)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		tb.Fatal(err)
	}
	making, err := os.MkdirTemp(filepath.Dir(dir), historyVersion+".tmp-")
	if err != nil {
		tb.Fatal(err)
	}
	defer os.RemoveAll(making)
	all := historySeriesLabels()
	for day := range historyDays {
		writeHistoryDay(tb, making, day, all)
	}
	if err := os.Rename(making, dir); err != nil {
		if _, other := os.Stat(dir); other != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// historyMetric says what the 100 series of each of the 50 metrics are like.
func historyMetric(i int) (name string, counter bool) {
	switch {
	case i < 10:
		return fmt.Sprintf("node_cpu_seconds_%02d_total", i), true
	case i < 20:
		return fmt.Sprintf("node_memory_%02d_bytes", i), false
	case i < 30:
		return fmt.Sprintf("http_requests_%02d_total", i), true
	case i < 40:
		return "http_request_duration_seconds_bucket", true
	case i < 41:
		return "http_request_duration_seconds_count", true
	case i < 46:
		return fmt.Sprintf("container_memory_%02d_bytes", i), false
	}
	return fmt.Sprintf("kube_pod_restarts_%02d_total", i), true
}

var historyBounds = []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"}

type historyOne struct {
	labels  labels.Labels
	number  int
	counter bool
}

// historySeriesLabels returns the series, sorted by labels.
func historySeriesLabels() []historyOne {
	var all []historyOne
	for i := range historySeries {
		name, counter := historyMetric(i / 100)
		set := map[string]string{
			"__name__": name, "job": "job-" + strconv.Itoa(i%11), "instance": fmt.Sprintf("10.0.%d.%d:9100", i%7, i%100),
			"cluster": "eu-" + strconv.Itoa(i%3), "namespace": "team-" + strconv.Itoa(i%13),
			"pod": fmt.Sprintf("app-%d-%x", i%100, 7919*(i%100)), "container": "app",
		}
		if name == "http_request_duration_seconds_bucket" {
			set["le"] = historyBounds[i/100-30]
		}
		all = append(all, historyOne{labels.FromMap(set), i, counter})
	}
	slices.SortFunc(all, func(a, b historyOne) int { return labels.Compare(a.labels, b.labels) })
	return all
}

// writeHistoryDay writes a block as Prometheus' compactor would.
func writeHistoryDay(tb testing.TB, dir string, day int, all []historyOne) {
	tb.Helper()
	check := func(err error) {
		if err != nil {
			tb.Helper()
			tb.Fatal(err)
		}
	}
	mint := historyStart.AddDate(0, 0, day).UnixMilli()
	maxt := historyStart.AddDate(0, 0, day+1).UnixMilli()
	id := ulid.MustNew(uint64(maxt), rand.NewChaCha8([32]byte{byte(day)}))
	into := filepath.Join(dir, id.String())
	check(os.MkdirAll(into, 0o777))
	w, err := chunks.NewWriter(filepath.Join(into, "chunks"))
	check(err)
	iw, err := index.NewWriter(context.Background(), filepath.Join(into, "index"))
	check(err)
	symbols := map[string]bool{"": true}
	for _, s := range all {
		s.labels.Range(func(l labels.Label) { symbols[l.Name], symbols[l.Value] = true, true })
	}
	var sorted []string
	for s := range symbols {
		sorted = append(sorted, s)
	}
	slices.Sort(sorted)
	for _, s := range sorted {
		check(iw.AddSymbol(s))
	}
	longest := 0
	for i, s := range all {
		metas := historyChunks(tb, s, day, mint, maxt)
		for _, m := range metas {
			longest = max(longest, len(m.Chunk.Bytes()))
		}
		check(w.WriteChunks(metas...))
		check(iw.AddSeries(storage.SeriesRef(i), s.labels, metas...))
	}
	check(w.Close())
	check(iw.Close())
	meta := block.Meta{
		ULID: id, MinTime: mint, MaxTime: maxt, Version: block.Version1,
		Stats:      block.Stats{NumSeries: uint64(len(all)), NumChunks: uint64(24 * len(all))},
		Compaction: block.Compaction{Level: 3, Sources: []ulid.ULID{id}},
		Thanos: block.Thanos{
			Labels: map[string]string{"region": "eu", "replica": "a"}, Source: block.SourceCompactor,
			IndexStats: block.IndexStats{ChunkMaxSize: int64(longest)},
		},
	}
	for _, name := range []string{"chunks/000001", "index"} {
		info, err := os.Stat(filepath.Join(into, filepath.FromSlash(name)))
		check(err)
		meta.Thanos.Files = append(meta.Thanos.Files, block.File{RelPath: name, SizeBytes: info.Size()})
	}
	text, err := json.Marshal(&meta)
	check(err)
	check(os.WriteFile(filepath.Join(into, "meta.json"), text, 0o666))
}

// historyChunks makes the samples of one series and day. Counters grow by
// random whole steps, gauges wander; scrapes come a few milliseconds late now and
// then.
func historyChunks(tb testing.TB, s historyOne, day int, mint, maxt int64) []chunks.Meta {
	rnd := rand.New(rand.NewPCG(uint64(s.number), uint64(day)))
	value := float64(day) * 1e7
	if !s.counter {
		value = 1e9 + 1e6*float64(s.number)
	}
	offset := int64(s.number) * 5 // each target has its turn in the interval
	var metas []chunks.Meta
	for from := mint; from < maxt; from += time.Hour.Milliseconds() {
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		if err != nil {
			tb.Fatal(err)
		}
		m := chunks.Meta{Chunk: c, MinTime: math.MaxInt64}
		for t := from + offset; t < from+time.Hour.Milliseconds(); t += historyInterval.Milliseconds() {
			at := t
			if rnd.IntN(20) == 0 {
				at += int64(rnd.IntN(5))
			}
			switch {
			case s.counter && s.number < 1000:
				value += 30 * rnd.Float64() // seconds
			case s.counter:
				value += float64(rnd.IntN(1000))
			case rnd.IntN(5) > 0:
				value += float64(rnd.IntN(1<<14)-1<<13) * 4096
			}
			app.Append(0, at, value)
			m.MinTime, m.MaxTime = min(m.MinTime, at), at
		}
		c.Compact()
		metas = append(metas, m)
	}
	return metas
}
