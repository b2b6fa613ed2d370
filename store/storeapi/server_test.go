package storeapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/varve-tsdb/varve/internal/grpcwire/grpctest"
	"github.com/varve-tsdb/varve/internal/readopts"
	"github.com/varve-tsdb/varve/query/querytest"
)

// fixed is a source of some series that does as it is told.
type fixed struct {
	series   []storage.ChunkSeries
	err      error // of the set
	warnings annotations.Annotations
	opening  error

	made, open, closed atomic.Int64
	opts               atomic.Pointer[readopts.Options]
	endless            bool
}

func (f *fixed) ChunkQuerier(_, _ int64) (storage.ChunkQuerier, error) {
	if f.opening != nil {
		return nil, f.opening
	}
	f.open.Add(1)
	return &fixedQuerier{fixed: f}, nil
}

type fixedQuerier struct {
	*fixed
	at int
}

func (q *fixedQuerier) Select(ctx context.Context, _ bool, _ *storage.SelectHints, _ ...*labels.Matcher) storage.ChunkSeriesSet {
	opts := readopts.From(ctx)
	q.opts.Store(&opts)
	return q
}

func (q *fixedQuerier) Next() bool {
	q.made.Add(1)
	q.at++
	return q.endless || q.at <= len(q.series)
}

func (q *fixedQuerier) At() storage.ChunkSeries {
	if q.endless {
		return series(labels.FromStrings("a", fmt.Sprintf("%09d", q.at)), chunks.Meta{MaxTime: 1, Chunk: longChunk})
	}
	return q.series[q.at-1]
}
func (q *fixedQuerier) Err() error                        { return q.err }
func (q *fixedQuerier) Warnings() annotations.Annotations { return q.warnings }
func (q *fixedQuerier) Close() error                      { q.closed.Add(1); return nil }

func (q *fixedQuerier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, q.warnings, q.err
}

func (q *fixedQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, q.warnings, q.err
}

func series(ls labels.Labels, metas ...chunks.Meta) storage.ChunkSeries {
	return &storage.ChunkSeriesEntry{Lset: ls, ChunkIteratorFn: func(chunks.Iterator) chunks.Iterator {
		return storage.NewListChunkSeriesIterator(metas...)
	}}
}

// errors that say what they are.
type (
	awayError  struct{ error }
	limitError struct{ error }
	busyError  struct {
		error
		after time.Duration
	}
)

func (awayError) Unavailable() bool    { return true }
func (limitError) LimitExceeded() bool { return true }

func (e busyError) Overloaded() (time.Duration, bool) { return e.after, true }

// What a source fails with comes out of the client as the same kind of error.
func TestErrorsComeThrough(t *testing.T) {
	for name, c := range map[string]struct {
		err                  error
		whole, inPart        codes.Code
		away, limited, ended bool
		busy                 bool // for 1.5 seconds
	}{
		"not ready": {err: awayError{errors.New("not now")}, whole: codes.Unavailable, inPart: codes.Unavailable, away: true},
		"a limit":   {err: fmt.Errorf("more: %w", limitError{errors.New("too much")}), whole: codes.ResourceExhausted, inPart: codes.ResourceExhausted, limited: true},
		"too busy":  {err: fmt.Errorf("wait: %w", busyError{errors.New("no room"), 1500 * time.Millisecond}), whole: codes.Unavailable, inPart: codes.Unavailable, away: true, busy: true},
		"late":      {err: context.DeadlineExceeded, whole: codes.DeadlineExceeded, inPart: codes.DeadlineExceeded, ended: true},
		"any other": {err: errors.New("broken"), whole: codes.Aborted, inPart: codes.Internal},
	} {
		for _, source := range []*fixed{{err: c.err}, {opening: c.err}} {
			client := over(t, source, way{})
			for ctx, code := range map[context.Context]codes.Code{t.Context(): c.whole, partial(t.Context()): c.inPart} {
				_, _, err := read(ctx, client, nil)
				q, _ := client.ChunkQuerier(0, 1)
				_, _, names := q.LabelNames(ctx, nil)
				_, _, values := q.LabelValues(ctx, "a", nil)
				for _, err := range []error{err, names, values} {
					var answer *StatusError
					if !errors.As(err, &answer) || answer.Code != code || answer.Unavailable() != c.away || answer.LimitExceeded() != c.limited ||
						errors.Is(err, context.DeadlineExceeded) != c.ended || !strings.Contains(err.Error(), c.err.Error()) {
						t.Errorf("%s: %v, want %s", name, err, code)
						continue
					}
					if after, busy := answer.Overloaded(); busy != c.busy || busy && after != 1500*time.Millisecond {
						t.Errorf("%s: %v is worth a try after %s: %v", name, err, after, busy)
					}
				}
				q.Close()
			}
			if open, closed := source.open.Load(), source.closed.Load(); open != closed {
				t.Errorf("%s: %d queriers of %d are closed", name, closed, open)
			}
		}
	}
}

// Warnings of ours stay warnings, whole or in part.
func TestWarningsComeThrough(t *testing.T) {
	source := &fixed{series: []storage.ChunkSeries{series(labels.FromStrings("a", "1"), chunks.Meta{MinTime: 1, MaxTime: 1, Chunk: xor(t, 1)})}}
	source.warnings.Add(errors.New("something is odd"))
	c := over(t, source, way{})
	for _, ctx := range []context.Context{t.Context(), partial(t.Context())} {
		got, warnings, err := read(ctx, c, nil)
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "something is odd") || !errors.As(warnings[0], new(*Warning)) {
			t.Errorf("%v, %v", warnings, err)
		}
		wantText(t, got, `{a="1"} 1`)
		if source.opts.Load().Partial != readopts.From(ctx).Partial {
			t.Error("the source is asked for the other")
		}
	}
}

func TestTenantNarrowsARead(t *testing.T) {
	source := &fixed{}
	c := over(t, source, way{})
	for _, tenant := range []string{"", "a"} {
		if _, _, err := read(readopts.With(t.Context(), readopts.Options{Tenant: tenant}), c, nil); err != nil {
			t.Fatal(err)
		}
		if got := source.opts.Load().Tenant; got != tenant {
			t.Errorf("the source is read for tenant %q, want %q", got, tenant)
		}
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	c := over(t, querytest.NewModel(querytest.Data{}), way{})
	type request struct {
		name protoreflectName
		text string
	}
	for method, list := range map[string][]request{
		seriesMethod: {
			{"SeriesRequest", ``},
			{"SeriesRequest", `matchers: {type: RE name: "a" value: "("}`},
			{"SeriesRequest", `matchers: {type: 7 name: "a"}`},
			{"SeriesRequest", `matchers: {name: "a"} shard_info: {shard_index: 2 total_shards: 2}`},
		},
		labelValuesMethod: {{"LabelValuesRequest", ``}, {"LabelValuesRequest", `label: "a" matchers: {type: RE name: "a" value: "("}`}},
		labelNamesMethod:  {{"LabelNamesRequest", `matchers: {type: NRE name: "a" value: "("}`}},
		exemplarsMethod:   {{"ExemplarsRequest", `query: "{"`}},
	} {
		for _, r := range list {
			stream, err := c.open(t.Context(), method, wrote(t, dynamicName(r.name), r.text))
			if err == nil {
				err = stream.RecvMsg(&received{})
			}
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("%s of %s: %v", method, r.text, err)
			}
		}
	}
}

type protoreflectName = string

// ask sends a request and returns the label sets of the answer, in order.
func (r *seriesRequest) ask(t *testing.T, c *Client) (found []string, frames []frame) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := c.open(ctx, seriesMethod, r.encode())
	if err != nil {
		t.Fatal(err)
	}
	d := frameDecoder{mint: math.MinInt64, maxt: math.MaxInt64}
	for {
		m := &received{}
		if err := stream.RecvMsg(m); err != nil {
			if c.ended(ctx, seriesMethod, err) != nil {
				t.Fatal(err)
			}
			return found, frames
		}
		f, err := d.decode(m.body)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
		for _, s := range f.series {
			found = append(found, s.labels.String())
		}
	}
}

// Shards have all series between them, none twice; a limit counts those of the
// shard; and batches are as large as is asked for.
func TestShardsLimitsAndBatches(t *testing.T) {
	c := over(t, querytest.NewModel(querytest.Many(1, querytest.DefaultExternal()...)), way{})
	req := func() *seriesRequest {
		return &seriesRequest{mint: math.MinInt64, maxt: math.MaxInt64, matchers: []*labels.Matcher{equal("missing", "")}, batch: 7}
	}
	all, frames := req().ask(t, c)
	if len(all) < 20 {
		t.Fatalf("only %d series", len(all))
	}
	for i, f := range frames {
		if len(f.series) > 7 || len(f.series) < 7 && i < len(frames)-1 {
			t.Errorf("message %d has %d series", i, len(f.series))
		}
	}
	seen := map[string]int{}
	for i := range int64(3) {
		r := req()
		r.shard = shard{index: i, total: 3}
		r.skipChunks = true
		found, frames := r.ask(t, c)
		for _, s := range found {
			seen[s]++
		}
		for _, f := range frames {
			for _, s := range f.series {
				if len(s.chunks) > 0 {
					t.Fatal("there are chunks, which were not asked for")
				}
			}
		}
		r = req()
		r.shard = shard{index: i, total: 3}
		r.limit = 2
		limited, _ := r.ask(t, c)
		if strings.Join(limited, " ") != strings.Join(found[:2], " ") {
			t.Errorf("shard %d, two of it: %q, want the first of %q", i, limited, found[:2])
		}
	}
	for _, s := range all {
		if seen[s] != 1 {
			t.Errorf("%s is in %d shards", s, seen[s])
		}
	}
	// Replicas that have become equal count as one.
	r := req()
	r.without, r.limit = []string{"replica"}, 3
	found, _ := r.ask(t, c)
	distinct := map[string]bool{}
	for _, s := range found {
		distinct[s] = true
	}
	if len(distinct) != 3 {
		t.Errorf("three without replicas: %q", found)
	}
}

// A reader that does not read holds up the source, and the end of its call ends the
// querier.
func TestSlowReaderHoldsUpTheSource(t *testing.T) {
	source := &fixed{endless: true}
	c := over(t, source, way{})
	q, err := c.ChunkQuerier(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	set := q.Select(t.Context(), true, nil, equal("a", ""))
	if !set.Next() {
		t.Fatal(set.Err())
	}
	// It stands still once it has filled what there is between the two.
	made := source.made.Load()
	for still := 0; still < 5; {
		time.Sleep(20 * time.Millisecond)
		if now := source.made.Load(); now == made {
			still++
		} else {
			made, still = now, 0
		}
		if made > 200_000 {
			t.Fatalf("%d series of 200 bytes are on the way to who does not read", made)
		}
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	for range 500 {
		if source.closed.Load() == 1 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the querier of the source stays open")
}

// Chunks of encodings that Thanos does not read come as those they stem from, with
// the same samples.
func TestNewerEncodingsAreTranscoded(t *testing.T) {
	h := &histogram.Histogram{
		Schema: 1, Count: 9, Sum: 5, ZeroThreshold: 0.001, ZeroCount: 1,
		PositiveSpans: []histogram.Span{{Length: 2}}, PositiveBuckets: []int64{3, 2},
	}
	gauge := h.Copy()
	gauge.CounterResetHint = histogram.GaugeType
	for enc, want := range map[chunkenc.Encoding]chunkenc.Encoding{
		chunkenc.EncXOR2: chunkenc.EncXOR, chunkenc.EncHistogramST: chunkenc.EncHistogram, chunkenc.EncFloatHistogramST: chunkenc.EncFloatHistogram,
	} {
		for _, h := range []*histogram.Histogram{h, gauge} {
			chunk, err := chunkenc.NewEmptyChunk(enc)
			if err != nil {
				t.Fatal(err)
			}
			app, err := chunk.Appender()
			if err != nil {
				t.Fatal(err)
			}
			for i := range int64(20) {
				switch enc {
				case chunkenc.EncHistogramST:
					_, _, _, err = app.AppendHistogram(nil, 1, 10+i, h.Copy(), true)
				case chunkenc.EncFloatHistogramST:
					_, _, _, err = app.AppendFloatHistogram(nil, 1, 10+i, h.ToFloat(nil), true)
				default:
					app.Append(1, 10+i, float64(i%3))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			c := over(t, &fixed{series: []storage.ChunkSeries{series(labels.FromStrings("a", "1"), chunks.Meta{MinTime: 10, MaxTime: 29, Chunk: chunk})}}, way{})
			q, err := c.ChunkQuerier(0, 100)
			if err != nil {
				t.Fatal(err)
			}
			set := q.Select(t.Context(), true, nil, equal("a", "1"))
			if !set.Next() {
				t.Fatal(set.Err())
			}
			it := set.At().Iterator(nil)
			it.Next()
			got := it.At().Chunk
			if got.Encoding() != want {
				t.Errorf("%s comes as %s", enc, got.Encoding())
			}
			sent, err1 := querytest.ReadSamples(chunk.Iterator(nil))
			read, err2 := querytest.ReadSamples(got.Iterator(nil))
			if err1 != nil || err2 != nil || len(sent) != len(read) {
				t.Fatalf("%v, %v: %d samples of %d", err1, err2, len(read), len(sent))
			}
			for i := range sent {
				sent[i].ST = 0
				if !sent[i].Equal(read[i]) {
					t.Errorf("%s: sample %s comes as %s", enc, sent[i], read[i])
				}
			}
			q.Close()
		}
	}
}

// A chunk that has no place in the protocol fails the read, and says which it is.
func TestChunksWithoutAPlace(t *testing.T) {
	c := over(t, &fixed{series: []storage.ChunkSeries{series(labels.FromStrings("a", "1"), chunks.Meta{Chunk: strange{longChunk}})}}, way{})
	if _, _, err := read(t.Context(), c, nil); err == nil || !strings.Contains(err.Error(), "encoding 77") {
		t.Errorf("%v", err)
	}
}

type strange struct{ chunkenc.Chunk }

func (strange) Encoding() chunkenc.Encoding { return 77 }

func TestInfo(t *testing.T) {
	ready := errors.New("the bucket is not known yet")
	gate := func() error { return ready }
	model := querytest.NewModel(querytest.Data{})
	for _, ext := range []labels.Labels{labels.FromStrings("a", "1"), labels.EmptyLabels()} {
		if err := model.Append(ext, labels.FromStrings("b", "c"), querytest.Sample{T: 5}); err != nil {
			t.Fatal(err)
		}
	}
	c := newClient(t, grpctest.Serve(t, newServer(t, model, way{server: ServerOptions{Component: "receive", Ready: gate}})), ClientOptions{})
	var answer *StatusError
	if err := c.Sync(t.Context()); !errors.As(err, &answer) || !answer.Unavailable() || !strings.Contains(err.Error(), "not known yet") {
		t.Errorf("before it is ready: %v", err)
	}
	ready = nil
	body, err := c.call(t.Context(), infoMethod, nil)
	if err != nil {
		t.Fatal(err)
	}
	i, err := decodeInfo(body)
	if err != nil || i.component != "receive" || !i.metadata || !i.exemplars || len(i.labelSets) != 2 || !i.store.sharding || !i.store.without || i.store.mint != 5 || i.store.maxt != 5 {
		t.Errorf("%+v, %v", i, err)
	}
	for name, c := range map[string]struct {
		source     storage.ChunkQueryable
		mint, maxt int64
	}{
		"a source that cannot tell": {bare{model}, math.MinInt64, math.MaxInt64},
		"a source without anything": {querytest.NewModel(querytest.Data{}), math.MaxInt64, math.MinInt64},
	} {
		known := over(t, c.source, way{}).known.Load()
		if known.store.mint != c.mint || known.store.maxt != c.maxt || len(known.labelSets) > 0 || len(known.store.streams) > 0 {
			t.Errorf("%s: %+v", name, known.store)
		}
	}
}

// A source without exemplars and metadata has none, and does not fail.
func TestServersWithoutExtras(t *testing.T) {
	synced := over(t, bare{querytest.NewModel(querytest.Data{})}, way{})
	unknown := newClient(t, grpctest.Serve(t, (&script{}).server(t)), ClientOptions{})
	for _, c := range []*Client{synced, unknown} {
		q, err := c.ExemplarQuerier(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := q.Select(0, 1, []*labels.Matcher{equal("a", "b")}); err != nil || len(got) > 0 {
			t.Errorf("exemplars: %v, %v", got, err)
		}
		if got, err := c.MetricMetadata(t.Context(), "", 0); err != nil || len(got) > 0 {
			t.Errorf("metadata: %v, %v", got, err)
		}
	}
}

// Two servers and two clients in a process that has a codec and messages of its own
// by the same names: neither side notices.
func TestTwoOfEverythingBesideTheHosts(t *testing.T) {
	before := grpctest.Foreign()
	reg := prometheus.NewRegistry()
	for i := range 2 {
		name := prometheus.WrapRegistererWith(prometheus.Labels{"n": fmt.Sprint(i)}, reg)
		w := snappy()
		w.server.Registerer, w.client.Registerer = name, name
		model := querytest.NewModel(querytest.Kinds(labels.FromStrings("n", fmt.Sprint(i))))
		server := newServer(t, model, w)
		grpctest.RegisterHost(server)
		conn := grpctest.Serve(t, server, w.dial...)
		c := newClient(t, conn, w.client)
		grpctest.CheckHost(t, conn)
		if err := c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		q, err := c.ChunkQuerier(math.MinInt64, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		set := q.Select(t.Context(), true, nil, equal("missing", ""))
		n := 0
		for set.Next() {
			if set.At().Labels().Get("n") != fmt.Sprint(i) {
				t.Errorf("%d has %s", i, set.At().Labels())
			}
			n++
		}
		if err := errors.Join(set.Err(), q.Close()); err != nil || n == 0 {
			t.Errorf("%d series, %v", n, err)
		}
	}
	if n := grpctest.Foreign() - before; n != 0 {
		t.Errorf("the host's codec was given %d messages that are not its own", n)
	}
	grpctest.CheckOccupied(t)
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

func TestMetricsComeAndGo(t *testing.T) {
	reg := prometheus.NewRegistry()
	for range 2 {
		s, err := NewServer(&fixed{}, ServerOptions{Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewServer(&fixed{}, ServerOptions{Registerer: reg}); err == nil {
			t.Error("a second one on the same registry says nothing")
		}
		c, err := NewClient(nil, ClientOptions{Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewClient(nil, ClientOptions{Registerer: reg}); err == nil {
			t.Error("a second one on the same registry says nothing")
		}
		if err := errors.Join(s.Close(), c.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestClientOptions(t *testing.T) {
	if err := (ClientOptions{}).Validate(); err != nil {
		t.Error(err)
	}
	bad := ClientOptions{SyncInterval: -1, SyncTimeout: -1, BatchSize: -1, MaxMessageBytes: -1, MaxBufferedBytes: -1}
	_, err := NewClient(nil, bad)
	for _, field := range []string{"SyncInterval", "SyncTimeout", "BatchSize", "MaxMessageBytes", "MaxBufferedBytes"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

func TestServerWithoutTheCodecSaysSo(t *testing.T) {
	s, err := NewServer(&fixed{}, ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	s.Register(g)
	c := newClient(t, grpctest.Serve(t, g), ClientOptions{})
	if err := c.Sync(t.Context()); err == nil || !strings.Contains(err.Error(), "GRPCOptions") {
		t.Errorf("Info: %v", err)
	}
	if _, _, err := read(t.Context(), c, nil); err == nil { // gRPC answers a stream itself
		t.Error("Series is answered")
	}
}

// Run asks at once and again, and ends with its context.
func TestRunFollowsTheServer(t *testing.T) {
	model := querytest.NewModel(querytest.Data{})
	c := newClient(t, grpctest.Serve(t, newServer(t, model, way{})), ClientOptions{SyncInterval: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	holds := func(want int) bool {
		n := 0
		c.Streams(func(labels.Labels, int64, int64) bool { n++; return true })
		return n == want && c.Component() == "store"
	}
	for range 2000 {
		if holds(0) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := model.Append(labels.FromStrings("a", "b"), labels.FromStrings("c", "d"), querytest.Sample{T: 1}); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		if holds(1) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if !holds(1) {
		t.Error("what has come since is not known")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Requests that are too large are refused, compressed ones too, and never cut off, also
// if another service on the server has gRPC take larger ones.
func TestRequestsThatAreTooLarge(t *testing.T) {
	for name, w := range map[string]way{
		"as it is": {}, "compressed": {dial: SnappyDialOptions(ClientOptions{})},
		"compressed, beside a service with larger ones": {dial: SnappyDialOptions(ClientOptions{}), grpc: []grpc.ServerOption{grpc.MaxRecvMsgSize(1 << 30)}},
	} {
		source := &fixed{}
		c := over(t, source, w)
		q, err := c.ChunkQuerier(0, 1)
		if err != nil {
			t.Fatal(err)
		}
		set := q.Select(t.Context(), true, nil, equal("a", strings.Repeat("x", defaultRequestBytes)))
		for set.Next() {
		}
		var answer *StatusError
		if err := set.Err(); !errors.As(err, &answer) {
			t.Errorf("%s: %v", name, err)
		}
		if source.open.Load() != 0 {
			t.Errorf("%s: the source was asked", name)
		}
		q.Close()
	}
}
