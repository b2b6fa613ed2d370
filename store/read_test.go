package store

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// count sums up a log: operations by what they read.
func count(log []objstoretest.Operation) map[string]int {
	n := map[string]int{}
	for _, o := range log {
		_, rel, _ := strings.Cut(o.Name, "/")
		n[strings.TrimSpace(o.Op+" "+rel)]++
	}
	return n
}

// wideBlock is a block of n series with the given number of samples each.
func wideBlock(n int, samples int64) blocktest.Block {
	b := blocktest.Block{External: labels.FromStrings("cluster", "eu")}
	for i := range n {
		b.Series = append(b.Series, blocktest.Series{
			Labels:  labels.FromStrings("__name__", fmt.Sprintf("m%d", i%10), "i", fmt.Sprintf("%05d", i)),
			Samples: blocktest.Floats(0, 15*samples, 15, float64(i)),
		})
	}
	return b
}

func TestRequestsOfAQuery(t *testing.T) {
	memory := objstoretest.NewMemory()
	for range 2 {
		blocktest.Put(t, memory, wideBlock(3000, 10))
	}
	bkt := objstoretest.NewRecorder(memory)
	dir := t.TempDir()
	b := openOver(t, bkt, dir, Options{})
	want := map[string]int{"iter": 1, "iter index/v1/": 1, "get meta.json": 2}
	if diff := cmp.Diff(want, count(bkt.Log())); diff != "" {
		t.Errorf("the first Sync (-want +got):\n%s", diff)
	}

	for _, c := range []struct {
		name string
		do   func(b *Bucket)
		want map[string]int
	}{
		{"a second Sync", func(b *Bucket) {
			if err := b.Sync(t.Context()); err != nil {
				t.Error(err)
			}
		}, map[string]int{"iter": 1, "iter index/v1/": 1}},
		{"another stream", func(b *Bucket) { mustRead(t, b, 0, 1000, equal("cluster", "us")) }, map[string]int{}},
		{"another time", func(b *Bucket) { mustRead(t, b, 1000, 2000, equal("__name__", "m1")) }, map[string]int{}},
		// Of each block: its header by one read, postings, series, chunks.
		{"a cold query", func(b *Bucket) { mustRead(t, b, 0, 1000, equal("__name__", "m1")) }, map[string]int{"get_range index": 6, "get_range chunks/000001": 2}},
		{"a warm query", func(b *Bucket) { mustRead(t, b, 0, 1000, equal("__name__", "m1")) }, map[string]int{"get_range index": 4, "get_range chunks/000001": 2}},
		{"all series", func(b *Bucket) { mustRead(t, b, 0, 1000, equal("cluster", "eu")) }, map[string]int{"get_range index": 4, "get_range chunks/000001": 2}},
		{"many lists", func(b *Bucket) { mustRead(t, b, 0, 1000, like("i", ".*7"), like("__name__", "m7|m8")) }, map[string]int{"get_range index": 4, "get_range chunks/000001": 2}},
		{"no such value", func(b *Bucket) { mustRead(t, b, 0, 1000, equal("__name__", "nope")) }, map[string]int{}},
		{"labels only", func(b *Bucket) {
			labelsOnly(t, b, &storage.SelectHints{Start: 0, End: 1000, Func: "series"})
		}, map[string]int{"get_range index": 4}},
		{"label names", func(b *Bucket) { labelCalls(t, b, "") }, map[string]int{}},
		{"label values", func(b *Bucket) { labelCalls(t, b, "i") }, map[string]int{}},
		{"label values of matching series", func(b *Bucket) { labelCalls(t, b, "__name__", equal("i", "00003")) }, map[string]int{"get_range index": 4}},
		{"external label values", func(b *Bucket) { labelCalls(t, b, "cluster") }, map[string]int{}},
	} {
		bkt.Reset()
		c.do(b)
		if diff := cmp.Diff(c.want, count(bkt.Log())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}

	bkt.Reset()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	again := openOver(t, bkt, dir, Options{})
	mustRead(t, again, 0, 1000, equal("__name__", "m1"))
	want = map[string]int{"iter": 1, "iter index/v1/": 1, "get_range index": 4, "get_range chunks/000001": 2}
	if diff := cmp.Diff(want, count(bkt.Log())); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
}

func labelsOnly(t *testing.T, b *Bucket, hints *storage.SelectHints) (n int) {
	t.Helper()
	q, err := b.ChunkQuerier(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, hints, like("__name__", ".+"))
	for set.Next() {
		n++
		if it := set.At().Iterator(nil); it.Next() {
			t.Fatalf("%s has chunks", set.At().Labels())
		}
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return n
}

func labelCalls(t *testing.T, b *Bucket, name string, matchers ...*labels.Matcher) (got []string) {
	t.Helper()
	q, err := b.ChunkQuerier(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if name == "" {
		got, _, err = q.LabelNames(t.Context(), nil, matchers...)
	} else {
		got, _, err = q.LabelValues(t.Context(), name, nil, matchers...)
	}
	if err != nil || len(got) == 0 {
		t.Fatalf("%v, %v", got, err)
	}
	return got
}

// TestWrongGuessesCostARequestOnly makes meta.json claim that everything is
// tiny, or tell nothing at all.
func TestWrongGuessesCostARequestOnly(t *testing.T) {
	b := blocktest.Block{SamplesPerChunk: 4, SegmentSize: 4096}
	for i := range 20 {
		series := blocktest.Series{Labels: labels.FromStrings("i", fmt.Sprintf("%02d", i), "odd", fmt.Sprint(i%2))}
		series.Samples = blocktest.Floats(0, int64(10*(i*i+1)), 10, float64(i))
		b.Series = append(b.Series, series)
	}
	// One with an entry and a chunk that are larger than what is read without
	// need, after which nothing follows that would bound them.
	b.Series = append(b.Series, largeSeries())
	bkt := objstoretest.NewMemory()
	id := blocktest.Put(t, bkt, b)
	want := mustRead(t, openOver(t, bkt, t.TempDir(), Options{}), 0, 10_000)
	for name, change := range map[string]func(meta, thanos map[string]any){
		"too small": func(_, thanos map[string]any) {
			thanos["index_stats"] = map[string]any{"series_max_size": 1, "chunk_max_size": 1}
		},
		"too large": func(_, thanos map[string]any) {
			thanos["index_stats"] = map[string]any{"series_max_size": 1 << 40, "chunk_max_size": 1 << 40}
		},
		"no sizes":   func(_, thanos map[string]any) { delete(thanos, "files"); delete(thanos, "index_stats") },
		"plain meta": func(meta, _ map[string]any) { delete(meta, "thanos") },
	} {
		t.Run(name, func(t *testing.T) {
			store := openOver(t, withMeta(t, bkt.Copy(), id, change), t.TempDir(), Options{})
			if got := mustRead(t, store, 0, 10_000); got != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
			got := mustRead(t, store, 0, 10_000, equal("i", "20"))
			if !strings.Contains(want, got) || got == "" {
				t.Errorf("one series: %s", got)
			}
			for _, data := range []string{dataSeries, dataChunks} {
				n := testutil.ToFloat64(store.metrics.refetches.WithLabelValues(data))
				if (n > 0) != (name != "too large") {
					t.Errorf("%v refetches of %s", n, data)
				}
			}
		})
	}
}

// largeSeries has an index entry of 100 kB and chunks of 20 kB.
func largeSeries() blocktest.Series {
	b := labels.NewScratchBuilder(20_000)
	b.Add("i", "20")
	for i := range 20_000 {
		b.Add(fmt.Sprintf("l%05d", i), "v")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	return blocktest.Series{Labels: b.Labels(), Samples: blocktest.Samples(0, 40, 1, func(t, _ int64) blocktest.Sample {
		h := &histogram.FloatHistogram{CounterResetHint: histogram.GaugeType, Schema: 3, Count: 600, Sum: 1, PositiveSpans: []histogram.Span{{Offset: 0, Length: 600}}}
		for range 600 {
			h.PositiveBuckets = append(h.PositiveBuckets, rng.Float64())
		}
		return blocktest.Sample{T: t, FH: h}
	})}
}

// withMeta changes the meta.json of a block.
func withMeta(t *testing.T, bkt *objstoretest.Memory, id ulid.ULID, change func(meta, thanos map[string]any)) *objstoretest.Memory {
	t.Helper()
	meta := map[string]any{}
	if err := json.Unmarshal(bkt.Objects()[id.String()+"/meta.json"], &meta); err != nil {
		t.Fatal(err)
	}
	change(meta, meta["thanos"].(map[string]any))
	raw, err := json.Marshal(meta)
	if err != nil {
		t.Fatal(err)
	}
	bkt.Put(id.String()+"/meta.json", raw)
	return bkt
}

func TestOverlappingBlocksMerge(t *testing.T) {
	bkt := objstoretest.NewMemory()
	a, b := labels.FromStrings("s", "a"), labels.FromStrings("s", "b")
	put := func(series ...blocktest.Series) {
		blocktest.Put(t, bkt, blocktest.Block{External: labels.FromStrings("e", "1"), Series: series})
	}
	put(blocktest.Series{Labels: a, Samples: blocktest.Floats(0, 100, 10, 0)})
	put(blocktest.Series{Labels: a, Samples: blocktest.Floats(0, 100, 10, 0)}) // the same again
	put(
		blocktest.Series{Labels: a, Samples: blocktest.Floats(50, 150, 10, 5)}, // half of it again
		blocktest.Series{Labels: b, Samples: blocktest.Floats(50, 70, 10, 0)},
	)
	store := openOver(t, bkt, t.TempDir(), Options{})
	want := `{e="1", s="a"} 0:0 10:1 20:2 30:3 40:4 50:5 60:6 70:7 80:8 90:9 100:10 110:11 120:12 130:13 140:14` + "\n" +
		`{e="1", s="b"} 50:0 60:1` + "\n"
	if got := mustRead(t, store, 0, 200); got != want {
		t.Errorf("got %s", got)
	}
	q, err := store.ChunkQuerier(0, 200)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, equal("s", "a"))
	var times [][2]int64
	for set.Next() {
		var it chunks.Iterator
		for it = set.At().Iterator(it); it.Next(); {
			times = append(times, [2]int64{it.At().MinTime, it.At().MaxTime})
		}
	}
	if diff := cmp.Diff([][2]int64{{0, 90}, {50, 140}}, times); diff != "" {
		t.Errorf("chunks (-want +got):\n%s", diff)
	}
}

// TestEqualLabelsAreOneSeries: external labels can make series equal, of one
// stream or of two.
func TestEqualLabelsAreOneSeries(t *testing.T) {
	bkt := objstoretest.NewMemory()
	blocktest.Put(t, bkt, blocktest.Block{External: labels.FromStrings("x", "1"), Series: []blocktest.Series{
		{Labels: labels.FromStrings("x", "overruled", "y", "2"), Samples: blocktest.Floats(0, 10, 5, 0)},
		{Labels: labels.FromStrings("x", "too", "y", "2"), Samples: blocktest.Floats(10, 20, 5, 0)},
	}})
	blocktest.Put(t, bkt, blocktest.Block{External: labels.FromStrings("y", "2"), Series: []blocktest.Series{
		{Labels: labels.FromStrings("x", "1"), Samples: blocktest.Floats(20, 30, 5, 0)},
	}})
	store := openOver(t, bkt, t.TempDir(), Options{})
	want := `{x="1", y="2"} 0:0 5:1 10:0 15:1 20:0 25:1` + "\n"
	if got := mustRead(t, store, 0, 100); got != want {
		t.Errorf("got %s", got)
	}

	q, err := store.ChunkQuerierWithout(0, 100, []string{"x"})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	got, _, err := text(q.Select(t.Context(), true, &storage.SelectHints{Start: 0, End: 100, Limit: 1}))
	if err != nil || strings.Count(got, `{y="2"}`) != 2 {
		t.Errorf("without x, limited to one label set: got %s, %v, want a series of it from each stream", got, err)
	}
}

func TestLimit(t *testing.T) {
	bkt := objstoretest.NewMemory()
	for range 2 {
		blocktest.Put(t, bkt, wideBlock(500, 3))
	}
	store := openOver(t, bkt, t.TempDir(), Options{})
	for limit, want := range map[int]int{0: 500, 1: 1, 7: 7, 499: 499, 1000: 500} {
		if n := labelsOnly(t, store, &storage.SelectHints{Start: 0, End: 1000, Func: "series", Limit: limit}); n != want {
			t.Errorf("limit %d: %d series, want %d", limit, n, want)
		}
	}
	q, err := store.ChunkQuerier(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, matchers := range [][]*labels.Matcher{nil, {equal("__name__", "m1")}, {like("i", "0001.")}} {
		values, _, err := q.LabelValues(t.Context(), "i", &storage.LabelHints{Limit: 3}, matchers...)
		if err != nil || len(values) != 3 {
			t.Errorf("values of i with %v: %v, %v", matchers, values, err)
		}
	}
}

// TestReadAheadIsBounded looks at what is read for a reader that does not read.
func TestReadAheadIsBounded(t *testing.T) {
	memory := objstoretest.NewMemory()
	wide := wideBlock(1000, 1)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range wide.Series {
		wide.Series[i].Samples = blocktest.Samples(0, 4500, 15, func(t, _ int64) blocktest.Sample { return blocktest.Float(t, rng.Float64()) })
	}
	id := blocktest.Put(t, memory, wide)
	if size := len(memory.Objects()[id.String()+"/chunks/000001"]); size < 2<<20 {
		t.Fatalf("the chunks have only %d bytes", size)
	}
	for _, c := range []struct {
		name    string
		matcher *labels.Matcher
		series  int
		most    int64 // bytes
	}{
		{"all series", equal("cluster", "eu"), 1000, 1 << 20},
		// The chunks between them are read too, rather than making requests, and
		// not kept: all there are, once.
		{"every hundredth series", like("i", "..00."), 10, 3 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { checkReadAhead(t, memory, c.matcher, c.series, c.most) })
		})
	}
}

func checkReadAhead(t *testing.T, memory *objstoretest.Memory, matcher *labels.Matcher, series int, most int64) {
	bkt := objstoretest.NewRecorder(memory)
	b := openOver(t, bkt, t.TempDir(), Options{ReadAhead: 1 << 20})
	q, err := b.ChunkQuerier(0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, matcher)
	synctest.Wait()
	var bytes int64
	for _, o := range bkt.Log() {
		if strings.Contains(o.Name, "chunks") && o.Op == objstore.OpGetRange {
			bytes += o.Bytes
		}
	}
	if bytes == 0 || bytes > most {
		t.Errorf("%d bytes of chunks were read ahead", bytes)
	}
	n := 0
	for set.Next() {
		n++
	}
	if n != series || set.Err() != nil {
		t.Errorf("%d series, %v", n, set.Err())
	}
}

func TestUnknownMetaSizesOfSegments(t *testing.T) {
	for name, want := range map[string]int64{"000001": 0, "000010": 9, "": -1, "000000": -1, "x": -1, "99999999999999999999": -1} {
		n, ok := segmentIndex(name)
		if ok != (want >= 0) || ok && int64(n) != want {
			t.Errorf("segment %q: %d, %v", name, n, ok)
		}
	}
}
