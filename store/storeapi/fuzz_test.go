package storeapi

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"google.golang.org/protobuf/proto"

	"github.com/varve-tsdb/varve/query/querytest"
)

// frames are messages as a server sends them, of all kinds of chunks.
func frames(t testing.TB) (list [][]byte) {
	t.Helper()
	c := querytest.NewModel(querytest.Kinds(querytest.DefaultExternal()...))
	q, err := c.ChunkQuerier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, equal("missing", ""))
	for _, batch := range []int64{1, 5} {
		w := &frameWriter{stream: &sink{frames: &list}, batch: batch, pool: pool(t), metrics: mustMetrics(t)}
		for n := 0; n < 8 && set.Next(); n++ {
			w.begin(set.At().Labels(), labels.FromStrings("replica", "a"), batch > 1)
			it := set.At().Iterator(nil)
			for n := 0; n < 2 && it.Next(); n++ {
				if err := w.add(it.At(), 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.end(true); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// FuzzFrame reads messages of servers and the samples in them. What we take for a
// message protobuf does.
func FuzzFrame(f *testing.F) {
	for _, body := range frames(f) {
		if len(body) < 4_000 {
			f.Add(body)
		}
	}
	f.Add(wrote(f, "SeriesResponse", `warning: "w"`))
	f.Add(wrote(f, "SeriesResponse", `series: {chunks: {count: {data: "\000\001\002"} counter: {data: "\000\000"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := &frameDecoder{mint: math.MinInt64, maxt: math.MaxInt64}
		got, err := d.decode(body)
		if err != nil {
			return
		}
		// Text need not be UTF-8 for us; Thanos' library does not ask for it either.
		if m := oracle("SeriesResponse"); proto.Unmarshal(body, m) == nil && len(got.series) == 0 && countSeries(m) > 0 {
			t.Fatal("protobuf reads series, and we none")
		}
		var it chunkenc.Iterator
		for _, s := range got.series {
			if name, twice := s.labels.HasDuplicateLabelNames(); twice {
				t.Fatalf("%s twice", name)
			}
			for _, m := range s.chunks {
				if m.MinTime > m.MaxTime {
					t.Fatalf("a chunk from %d to %d", m.MinTime, m.MaxTime)
				}
				it = m.Chunk.Iterator(it)
				for n := 0; n < 1<<16 && it.Next() != chunkenc.ValNone; n++ {
				}
			}
		}
	})
}

// FuzzRequests reads requests of clients, and what was read comes out the same when
// it is written and read again.
func FuzzRequests(f *testing.F) {
	f.Add((&seriesRequest{mint: -1, maxt: 5, matchers: []*labels.Matcher{equal("a", "b")}, aggregates: 3, strict: true, hints: queryHints{step: 1, fn: "rate", grouping: []string{"x"}}, shard: shard{total: 2, names: []string{"a"}}, without: []string{"r"}, limit: 2, batch: 3}).encode())
	f.Add((&labelsRequest{values: true, label: "a", matchers: []*labels.Matcher{equal("a", "b")}, without: []string{"r"}, limit: 2}).encode())
	f.Add((&info{component: "store", labelSets: []labels.Labels{labels.FromStrings("a", "b")}, store: &storeInfo{mint: 1, streams: []stream{{labels.FromStrings("a", "b"), 1, 2}}}}).encode())
	f.Add((&exemplarsRequest{query: "{}", mint: 1}).encode())
	f.Fuzz(func(t *testing.T, body []byte) {
		if req, err := decodeSeriesRequest(body); err == nil {
			again, err := decodeSeriesRequest(req.encode())
			if err != nil || len(again.matchers) != len(req.matchers) || again.mint != req.mint || again.maxt != req.maxt || again.strict != req.strict ||
				again.limit != req.limit || again.hints.fn != req.hints.fn || again.aggregates != req.aggregates || len(again.without) != len(req.without) {
				t.Fatalf("%+v comes back as %+v, %v", req, again, err)
			}
		}
		for _, values := range []bool{false, true} {
			if req, err := decodeLabelsRequest(body, values); err == nil {
				if again, err := decodeLabelsRequest(req.encode(), values); err != nil || again.label != req.label || again.limit != req.limit || len(again.matchers) != len(req.matchers) {
					t.Fatalf("%+v comes back as %+v, %v", req, again, err)
				}
			}
		}
		if i, err := decodeInfo(body); err == nil {
			if again, err := decodeInfo(i.encode()); err != nil || again.component != i.component || len(streamsOf(again)) != len(streamsOf(i)) {
				t.Fatalf("%+v comes back as %+v, %v", i, again, err)
			}
		}
		_, _ = decodeLabelsResponse(body)
		_, _, _ = decodeExemplars(body)
		_, _ = decodeExemplarsRequest(body)
		_, _ = decodeMetadataRequest(body)
		_, _ = decodeMetadata(body, nilMetadata())
	})
}
