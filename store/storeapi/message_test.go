package storeapi

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"
)

func equal(name, value string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchEqual, name, value)
}

var compareMessages = cmp.Options{
	cmp.AllowUnexported(seriesRequest{}, queryHints{}, shard{}, labelsRequest{}, info{}, storeInfo{}, stream{}, exemplarsRequest{}, metadataRequest{}),
	cmp.Comparer(labels.Equal),
	cmp.FilterValues(func(_, _ []string) bool { return true }, cmpopts.EquateEmpty()),
	cmp.Comparer(func(a, b *labels.Matcher) bool { return a.String() == b.String() }),
}

// Each request as Thanos writes it, and what it says.
func TestRequestsAreThanos(t *testing.T) {
	text := `min_time: -5 max_time: 7 max_resolution_window: 300000 aggregates: [COUNT, SUM]
		matchers: {name: "a" value: "b"} matchers: {type: NRE name: "c" value: "d.*"}
		partial_response_disabled: true partial_response_strategy: ABORT skip_chunks: true
		query_hints: {step_millis: 1000 func: {name: "rate"} grouping: {by: true labels: ["x", "y"]} range: {millis: 9}}
		shard_info: {shard_index: 1 total_shards: 3 by: true labels: ["m", "n"]}
		without_replica_labels: ["r", "s"] limit: 11 response_batch_size: 64`
	want := &seriesRequest{
		mint: -5, maxt: 7, maxResolution: 300_000, aggregates: 1<<1 | 1<<2,
		matchers: []*labels.Matcher{equal("a", "b"), labels.MustNewMatcher(labels.MatchNotRegexp, "c", "d.*")},
		strict:   true, skipChunks: true,
		hints:   queryHints{step: 1000, fn: "rate", by: true, grouping: []string{"x", "y"}, rng: 9},
		shard:   shard{index: 1, total: 3, by: true, names: []string{"m", "n"}},
		without: []string{"r", "s"}, limit: 11, batch: 64,
	}
	reads(t, "SeriesRequest", want.encode(), text)
	// What only others write: hints of a store, and fields that came before others.
	theirs := wrote(t, "SeriesRequest", text+` hints: {type_url: "type.googleapis.com/hintspb.SeriesRequestHints" value: "\x0a\x00"}`)
	for name, body := range map[string][]byte{
		"Thanos'": theirs, "our own": want.encode(),
		"an enum that is not packed": append(theirs, wireNumber(5, 1)...),
	} {
		got, err := decodeSeriesRequest(body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, got, compareMessages); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	old, err := decodeSeriesRequest(wrote(t, "SeriesRequest", `partial_response_disabled: true step: 5 range: 6`))
	if err != nil || !old.strict || old.hints.step != 5 || old.hints.rng != 6 {
		t.Errorf("fields of old: %+v, %v", old, err)
	}

	names := &labelsRequest{mint: 1, maxt: 2, matchers: []*labels.Matcher{equal("a", "b")}, strict: true, without: []string{"r"}, limit: 3}
	values := *names
	values.values, values.label = true, "job"
	same := `partial_response_disabled: true partial_response_strategy: ABORT start: 1 end: 2 matchers: {name: "a" value: "b"} without_replica_labels: "r" limit: 3`
	for _, c := range []struct {
		name string
		req  *labelsRequest
		text string
	}{{"LabelNamesRequest", names, same}, {"LabelValuesRequest", &values, same + ` label: "job"`}} {
		reads(t, dynamicName(c.name), c.req.encode(), c.text)
		got, err := decodeLabelsRequest(wrote(t, dynamicName(c.name), c.text), c.req.values)
		if d := cmp.Diff(c.req, got, compareMessages); d != "" || err != nil {
			t.Errorf("%s: %v %s", c.name, err, d)
		}
	}

	ex := &exemplarsRequest{query: "{a=\"b\"}", mint: 1, maxt: 2, strict: true}
	reads(t, "ExemplarsRequest", ex.encode(), `query: "{a=\"b\"}" start: 1 end: 2 partial_response_strategy: ABORT`)
	if got, err := decodeExemplarsRequest(ex.encode()); err != nil || *got != *ex {
		t.Errorf("exemplars: %+v, %v", got, err)
	}
	md := &metadataRequest{metric: "up", limit: -1, strict: true}
	reads(t, "MetricMetadataRequest", md.encode(), `metric: "up" limit: -1 partial_response_strategy: ABORT`)
	if got, err := decodeMetadataRequest(md.encode()); err != nil || *got != *md {
		t.Errorf("metadata: %+v, %v", got, err)
	}
}

func TestAnswersAreThanos(t *testing.T) {
	i := &info{
		component: "store", labelSets: []labels.Labels{labels.FromStrings("a", "b", "c", "d"), labels.EmptyLabels()}, metadata: true, exemplars: true,
		mint: 3, maxt: math.MaxInt64,
		store: &storeInfo{
			mint: math.MinInt64, maxt: 5, sharding: true, without: true,
			streams: []stream{{labels.FromStrings("a", "b"), 1, 2}, {labels.EmptyLabels(), -1, math.MaxInt64}},
		},
	}
	text := `label_sets: {labels: {name: "a" value: "b"} labels: {name: "c" value: "d"}} label_sets: {} ComponentType: "store" metric_metadata: {}
		exemplars: {min_time: 3 max_time: 9223372036854775807}
		store: {min_time: -9223372036854775808 max_time: 5 supports_sharding: true supports_without_replica_labels: true
			tsdb_infos: {labels: {labels: {name: "a" value: "b"}} min_time: 1 max_time: 2} tsdb_infos: {labels: {} min_time: -1 max_time: 9223372036854775807}}`
	reads(t, "InfoResponse", i.encode(), text)
	got, err := decodeInfo(wrote(t, "InfoResponse", text+` rules: {} targets: {} query: {} status: {}`))
	if d := cmp.Diff(i, got, compareMessages); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	i.store.removed = true
	if got, err := decodeInfo(i.encode()); err != nil || !got.store.removed {
		t.Errorf("the extension: %+v, %v", got, err)
	}

	reads(t, "LabelNamesResponse", (&labelsResponse{[]string{"a", "b"}, []string{"w"}}).encode(), `names: ["a", "b"] warnings: "w"`)
	list, err := decodeLabelsResponse(wrote(t, "LabelValuesResponse", `values: ["a", ""] warnings: "w" hints: {type_url: "x"}`))
	if err != nil || len(list.list) != 2 || len(list.warnings) != 1 {
		t.Errorf("%+v, %v", list, err)
	}

	e := exemplar.QueryResult{SeriesLabels: labels.FromStrings("a", "b"), Exemplars: []exemplar.Exemplar{
		{Labels: labels.FromStrings("trace", "1"), Value: 0.5, Ts: 7, HasTs: true}, {Value: math.Copysign(0, -1), HasTs: true},
	}}
	reads(t, "ExemplarsResponse", encodeExemplars(e), `data: {seriesLabels: {labels: {name: "a" value: "b"}} exemplars: {labels: {labels: {name: "trace" value: "1"}} value: 0.5 ts: 7} exemplars: {labels: {} value: -0.0}}`)
	read, warning, err := decodeExemplars(encodeExemplars(e))
	if d := cmp.Diff(e, read, compareMessages); d != "" || warning != "" || err != nil {
		t.Errorf("%v %q %s", err, warning, d)
	}

	m := []metadata.Metadata{{Type: "counter", Help: "h", Unit: "u"}, {}}
	reads(t, "MetricMetadataResponse", encodeMetadata("up", m), `metadata: {metadata: {key: "up" value: {metas: {type: "counter" help: "h" unit: "u"} metas: {}}}}`)
	all := map[string][]metadata.Metadata{}
	if warning, err := decodeMetadata(encodeMetadata("up", m), all); err != nil || warning != "" || cmp.Diff(m, all["up"]) != "" {
		t.Errorf("%v %q %v", err, warning, all)
	}
}

// Series as Thanos would write them are read, whatever their shape.
func TestSeriesOfThanos(t *testing.T) {
	chunk := xor(t, 10, 20)
	data := `"` + escape(chunk.Bytes()) + `"`
	one := `labels: {name: "a" value: "b"} labels: {name: "c" value: "d"} chunks: {min_time: 10 max_time: 20 raw: {data: ` + data + ` hash: 77}}`
	d := &frameDecoder{mint: 0, maxt: 100}
	for name, text := range map[string]string{
		"alone":                         `series: {` + one + `}`,
		"in a batch":                    `batch: {series: {` + one + `}}`,
		"with a chunk beside the range": `series: {` + one + ` chunks: {min_time: 101 max_time: 200 raw: {data: ` + data + `}}}`,
		"with an empty label":           `series: {labels: {name: "_"} ` + one + `}`,
	} {
		f, err := d.decode(wrote(t, "SeriesResponse", text))
		if err != nil || len(f.series) != 1 || f.warning != "" {
			t.Errorf("%s: %+v, %v", name, f, err)
			continue
		}
		s := f.series[0]
		if !labels.Equal(s.labels, labels.FromStrings("a", "b", "c", "d")) || s.told || len(s.chunks) != 1 ||
			s.chunks[0].MinTime != 10 || s.chunks[0].MaxTime != 20 || !bytes.Equal(s.chunks[0].Chunk.Bytes(), chunk.Bytes()) {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if f, err := d.decode(wrote(t, "SeriesResponse", `warning: "w"`)); err != nil || f.warning != "w" {
		t.Errorf("%+v, %v", f, err)
	}
	for name, text := range map[string]string{"hints": `hints: {type_url: "x"}`, "nothing": ``} {
		if f, err := d.decode(wrote(t, "SeriesResponse", text)); err != nil || len(f.series) > 0 || f.warning != "" {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	f, err := d.decode(wrote(t, "SeriesResponse", `series: {labels: {name: "c" value: "d"} labels: {name: "a" value: "b"}}`))
	if err != nil || !labels.Equal(f.series[0].labels, labels.FromStrings("a", "b", "c", "d")) {
		t.Errorf("labels that are not sorted: %+v, %v", f, err)
	}
}

func TestSeriesThatAreNone(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a label twice":             {`labels: {name: "a" value: "b"} labels: {name: "a" value: "c"}`, `the label "a" twice`},
		"a label without a name":    {`labels: {value: "b"}`, "without a name"},
		"a chunk that ends before":  {`chunks: {min_time: 2 max_time: 1 raw: {data: "\000\000"}}`, "begins at 2 and ends at 1"},
		"a chunk without data":      {`chunks: {}`, "no data"},
		"a chunk that is too short": {`chunks: {raw: {data: "\000"}}`, "only 1 bytes"},
		"a chunk of a later type":   {`chunks: {raw: {data: "\000\000" type: 3}}`, "unknown type 3"},
		"histograms that lie":       {`chunks: {raw: {data: "\000\001\000\000" type: HISTOGRAM}}`, "histograms"},
	} {
		d := &frameDecoder{mint: 0, maxt: 100}
		_, err := d.decode(wrote(t, "SeriesResponse", `series: {`+c.text+`}`))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// What goes out comes in again as it was, and protobuf reads the same.
func TestSeriesComeThrough(t *testing.T) {
	rapid.Check(t, func(draw *rapid.T) {
		var frames [][]byte
		w := &frameWriter{stream: &sink{frames: &frames}, batch: rapid.SampledFrom([]int64{0, 1, 2, 100}).Draw(draw, "batch"), pool: pool(t), metrics: mustMetrics(t)}
		type line struct {
			labels, lost labels.Labels
			tell         bool
			chunks       []chunks.Meta
		}
		var want []line
		for range rapid.IntRange(1, 6).Draw(draw, "series") {
			l := line{labels: drawLabels(draw), tell: rapid.Bool().Draw(draw, "tell")}
			if l.tell {
				l.lost = drawLabels(draw)
			}
			w.begin(l.labels, l.lost, l.tell)
			for range rapid.IntRange(0, 3).Draw(draw, "chunks") {
				mint := rapid.Int64Range(-5, 1<<40).Draw(draw, "mint")
				m := chunks.Meta{MinTime: mint, MaxTime: mint + 10, Chunk: xor(t, mint, mint+10)}
				l.chunks = append(l.chunks, m)
				if err := w.add(m, 0); err != nil {
					draw.Fatal(err)
				}
			}
			if err := w.end(true); err != nil {
				draw.Fatal(err)
			}
			want = append(want, l)
		}
		if err := w.flush(); err != nil {
			draw.Fatal(err)
		}
		d := &frameDecoder{mint: math.MinInt64, maxt: math.MaxInt64}
		for _, body := range frames {
			f, err := d.decode(body)
			if err != nil {
				draw.Fatal(err)
			}
			theirs := oracle("SeriesResponse")
			if err := proto.Unmarshal(body, theirs); err != nil {
				draw.Fatalf("protobuf cannot read it: %v", err)
			}
			if n := countSeries(theirs); n != len(f.series) {
				draw.Fatalf("protobuf reads %d series, we %d", n, len(f.series))
			}
			for _, s := range f.series {
				l := want[0]
				want = want[1:]
				if !labels.Equal(s.labels, l.labels) || s.told != l.tell || !labels.Equal(s.lost, l.lost) || len(s.chunks) != len(l.chunks) {
					draw.Fatalf("%+v comes as %+v", l, s)
				}
				for i, m := range s.chunks {
					if m.MinTime != l.chunks[i].MinTime || m.MaxTime != l.chunks[i].MaxTime || !bytes.Equal(m.Chunk.Bytes(), l.chunks[i].Chunk.Bytes()) {
						draw.Fatalf("chunk %d of %s is another", i, s.labels)
					}
				}
			}
		}
		if len(want) > 0 {
			draw.Fatalf("%d series have not come", len(want))
		}
	})
}

func countSeries(m *dynamicpb.Message) int {
	fields := m.Descriptor().Fields()
	if batch := fields.ByNumber(4); m.Has(batch) {
		b := m.Get(batch).Message()
		return b.Get(b.Descriptor().Fields().ByNumber(1)).List().Len()
	}
	if m.Has(fields.ByNumber(1)) {
		return 1
	}
	return 0
}

// A series with very many chunks comes in several messages.
func TestLongSeriesAreSplit(t *testing.T) {
	var frames [][]byte
	w := &frameWriter{stream: &sink{frames: &frames}, batch: 10, pool: pool(t), metrics: mustMetrics(t)}
	ls := labels.FromStrings("a", "b")
	w.begin(ls, labels.EmptyLabels(), false)
	const n = 20_000
	for i := range int64(n) {
		if err := w.add(chunks.Meta{MinTime: i, MaxTime: i, Chunk: longChunk}, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.end(false), w.flush()); err != nil {
		t.Fatal(err)
	}
	if len(frames) < 4 {
		t.Errorf("it comes in %d messages", len(frames))
	}
	d := &frameDecoder{mint: 0, maxt: n}
	next := int64(0)
	for _, body := range frames {
		if len(body) > 2*seriesBytes {
			t.Errorf("a message has %d bytes", len(body))
		}
		f, err := d.decode(body)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range f.series {
			if !labels.Equal(s.labels, ls) {
				t.Fatalf("a part of %s", s.labels)
			}
			for _, m := range s.chunks {
				if m.MinTime != next {
					t.Fatalf("chunk %d comes where %d should", m.MinTime, next)
				}
				next++
			}
		}
	}
	if next != n {
		t.Errorf("%d of %d chunks have come", next, n)
	}
}

var longChunk = func() chunkenc.Chunk {
	c, _ := chunkenc.FromData(chunkenc.EncXOR, make([]byte, 200))
	return c
}()

// The rule of a shard is that of Thanos; the hashes are those of its tests' rule,
// worked out by hand.
func TestShard(t *testing.T) {
	ls := labels.FromStrings("__name__", "up", "job", "a", "pod", "1")
	for _, c := range []struct {
		s    shard
		hash string
	}{
		{shard{by: true, names: []string{"job"}}, "job\xffa\xff"},
		{shard{by: false, names: []string{"__name__", "pod"}}, "job\xffa\xff"},
		{shard{by: false}, "__name__\xffup\xffjob\xffa\xffpod\xff1\xff"},
		{shard{by: true}, ""},
	} {
		in := -1
		for i := range int64(3) {
			s := c.s
			s.index, s.total = i, 3
			if s.has(ls) {
				if in >= 0 {
					t.Errorf("%+v: it is in two shards", c.s)
				}
				in = int(i)
			}
		}
		if want := int(xxhashOf(c.hash) % 3); in != want {
			t.Errorf("%+v: it is in shard %d, want %d", c.s, in, want)
		}
	}
	if !(&shard{}).has(ls) {
		t.Error("without shards it is in none")
	}
}

func wireNumber(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}
