package storeapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/varve-tsdb/varve/internal/grpcwire"
	"github.com/varve-tsdb/varve/internal/grpcwire/grpctest"
	"github.com/varve-tsdb/varve/internal/readopts"
	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// script is a server of another make, which says what a test wants.
type script struct {
	info   string // in the text format; empty for a store without a word about itself
	series func(req *seriesRequest, stream grpc.ServerStream) error
	labels func(req *labelsRequest) string

	requests chan *seriesRequest // of Series, as they came
}

func (s *script) server(t testing.TB) *grpc.Server {
	t.Helper()
	s.requests = make(chan *seriesRequest, 100)
	g := grpc.NewServer(grpc.ForceServerCodecV2(grpcwire.Codec{}))
	unary := func(name string, answer func(body []byte) (encoded, error)) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			req := &received{}
			if err := decode(req); err != nil {
				return nil, err
			}
			return answer(req.body)
		}}
	}
	names := func(values bool) func([]byte) (encoded, error) {
		return func(body []byte) (encoded, error) {
			req, err := decodeLabelsRequest(body, values)
			if err != nil {
				return nil, err
			}
			return wrote(t, "LabelNamesResponse", s.labels(req)), nil
		}
	}
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: "thanos.Store", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{unary("LabelNames", names(false)), unary("LabelValues", names(true))},
		Streams: []grpc.StreamDesc{{StreamName: "Series", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			m := &received{}
			if err := stream.RecvMsg(m); err != nil {
				return err
			}
			req, err := decodeSeriesRequest(m.body)
			if err != nil {
				return err
			}
			s.requests <- req
			return s.series(req, stream)
		}}},
	}, struct{}{})
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: "thanos.info.Info", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{unary("Info", func([]byte) (encoded, error) {
			if s.info == "" {
				return nil, status.Error(codes.Unavailable, "not ready")
			}
			return wrote(t, "InfoResponse", s.info), nil
		})},
	}, struct{}{})
	return g
}

// says makes a script that answers each Series with the same messages.
func says(t testing.TB, info string, frames ...string) *script {
	return &script{info: info, series: func(_ *seriesRequest, stream grpc.ServerStream) error {
		for _, text := range frames {
			if err := stream.SendMsg(encoded(wrote(t, "SeriesResponse", text))); err != nil {
				return err
			}
		}
		return nil
	}}
}

// client is one of the script.
func (s *script) client(t testing.TB, opts ClientOptions) *Client {
	t.Helper()
	c := newClient(t, grpctest.Serve(t, s.server(t)), opts)
	if s.info != "" {
		if err := c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

const someInfo = `ComponentType: "sidecar" label_sets: {labels: {name: "cluster" value: "eu"}} store: {min_time: 0 max_time: 1000 supports_without_replica_labels: true}`

// one writes a series in the text format, with a chunk for each time.
func one(t testing.TB, lset string, times ...int64) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("series: {")
	for pair := range strings.SplitSeq(lset, ",") {
		name, value, _ := strings.Cut(pair, "=")
		fmt.Fprintf(&b, "labels: {name: %q value: %q} ", name, value)
	}
	for _, at := range times {
		fmt.Fprintf(&b, `chunks: {min_time: %d max_time: %d raw: {data: "%s"}} `, at, at, escape(xor(t, at).Bytes()))
	}
	return b.String() + "}"
}

// read reads all of a Select as text: labels, what was lost, and the times of the
// chunks.
func read(ctx context.Context, source storage.ChunkQueryable, hints *storage.SelectHints, without ...string) (text []string, warnings []error, err error) {
	var q storage.ChunkQuerier
	if len(without) > 0 {
		q, err = source.(withouter).ChunkQuerierWithout(0, 1000, without)
	} else {
		q, err = source.ChunkQuerier(0, 1000)
	}
	if err != nil {
		return nil, nil, err
	}
	set := q.Select(ctx, true, hints, labels.MustNewMatcher(labels.MatchRegexp, "a", ".*"))
	var it chunks.Iterator
	for set.Next() {
		line := set.At().Labels().String()
		if lost, known := sortedsets.Removed(set.At()); known {
			line += "-" + lost.String()
		}
		it = set.At().Iterator(it)
		for it.Next() {
			line += fmt.Sprintf(" %d", it.At().MinTime)
		}
		text = append(text, line)
	}
	return text, set.Warnings().AsErrors(), errors.Join(set.Err(), q.Close())
}

func wantText(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func partial(ctx context.Context) context.Context {
	return readopts.With(ctx, readopts.Options{Partial: true})
}

// A series in several parts, with chunks that come twice and in no order, is one.
func TestPartsOfASeriesAreOne(t *testing.T) {
	c := says(t, someInfo,
		one(t, "a=1", 10, 20), one(t, "a=1", 20, 30), `hints: {type_url: "x"}`, one(t, "a=1", 5),
		one(t, "a=2", 10), one(t, "a=3", 2000), one(t, "a=4"),
	).client(t, ClientOptions{})
	got, _, err := read(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, got, `{a="1"} 5 10 20 30`, `{a="2"} 10`)
	got, _, err = read(t.Context(), c, &storage.SelectHints{Start: 0, End: 1000, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, got, `{a="1"} 5 10 20 30`)
	got, _, err = read(t.Context(), c, &storage.SelectHints{Start: 0, End: 1000, Func: "series"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 {
		t.Errorf("labels only: %q", got)
	}
}

// A server that breaks the order fails a read, and is sorted after that.
func TestServerWithoutOrder(t *testing.T) {
	c := says(t, someInfo, one(t, "a=2", 1), one(t, "a=1", 2), one(t, "a=2", 3)).client(t, ClientOptions{})
	_, _, err := read(t.Context(), c, nil)
	var order *OrderError
	if !errors.As(err, &order) || !order.Unavailable() || !strings.Contains(err.Error(), "try again") {
		t.Fatalf("the first read: %v", err)
	}
	got, _, err := read(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, got, `{a="1"} 2`, `{a="2"} 1 3`)
}

// Labels of replicas are taken off here where the server would not say which they
// were, and what was lost tells the replicas apart.
func TestReplicasOfAServerOfAnotherMake(t *testing.T) {
	s := says(t, someInfo, one(t, "a=1,r=x", 1, 3), one(t, "a=1,r=y", 2), one(t, "a=1,r=y,z=1", 2), one(t, "a=2,r=x", 1))
	c := s.client(t, ClientOptions{})
	got, _, err := read(t.Context(), c, nil, "r")
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, got, `{a="1"}-{r="x"} 1 3`, `{a="1"}-{r="y"} 2`, `{a="1", z="1"}-{r="y"} 2`, `{a="2"}-{r="x"} 1`)
	if req := <-s.requests; len(req.without) > 0 || req.removed {
		t.Errorf("the server is asked to leave out %q", req.without)
	}
	if _, _, err := read(t.Context(), c, &storage.SelectHints{End: 1000, Limit: 1}, "r"); err != nil {
		t.Fatal(err)
	}
	if req := <-s.requests; req.limit != 0 {
		t.Errorf("replicas count one by one: the server is asked for %d series", req.limit)
	}
	small := s.client(t, ClientOptions{MaxBufferedBytes: 10})
	_, _, err = read(t.Context(), small, nil, "r")
	var buffer *BufferError
	if !errors.As(err, &buffer) || !buffer.LimitExceeded() || !strings.Contains(err.Error(), "MaxBufferedBytes") {
		t.Errorf("more than may be kept: %v", err)
	}
	if _, _, err := read(t.Context(), small, nil); err != nil {
		t.Errorf("what needs no sorting is not kept: %v", err)
	}
}

func TestWarningsOfAServerOfAnotherMake(t *testing.T) {
	s := says(t, someInfo, one(t, "a=1", 1), `warning: "block 1 is away"`, `warning: "rpc error: code = ResourceExhausted desc = too much"`)
	s.labels = func(*labelsRequest) string { return `names: ["b", "a", "b"] warnings: "block 1 is away"` }
	c := s.client(t, ClientOptions{Name: "other"})
	got, warnings, err := read(partial(t.Context()), c, nil)
	if err != nil || len(warnings) != 2 || !strings.Contains(fmt.Sprint(warnings), "store other: block 1 is away") {
		t.Errorf("in part: %v, %v", warnings, err)
	}
	wantText(t, got, `{a="1"} 1`)
	if req := <-s.requests; req.strict {
		t.Error("in part: the server is asked to be strict")
	}
	_, _, err = read(t.Context(), c, nil)
	var answer *StatusError
	if !errors.As(err, &answer) || answer.Code != codes.Aborted || !strings.Contains(err.Error(), "block 1 is away") {
		t.Errorf("whole: %v", err)
	}
	if req := <-s.requests; !req.strict {
		t.Error("whole: the server is not asked to be strict")
	}
	q, err := c.ChunkQuerier(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	names, ws, err := q.LabelNames(partial(t.Context()), nil)
	if err != nil || strings.Join(names, " ") != "a b" || len(ws) != 1 {
		t.Errorf("names in part: %q, %v, %v", names, ws, err)
	}
	if _, _, err := q.LabelNames(t.Context(), nil); !errors.As(err, &answer) || answer.Code != codes.Aborted {
		t.Errorf("whole names: %v", err)
	}

	limit := says(t, someInfo, `warning: "rpc error: code = ResourceExhausted desc = too much"`).client(t, ClientOptions{})
	if _, _, err := read(t.Context(), limit, nil); !errors.As(err, &answer) || !answer.LimitExceeded() {
		t.Errorf("a limit as a warning: %v", err)
	}
}

// Thanos' stores refuse requests whose matchers are all about external labels.
func TestMatchersOfExternalLabelsOnly(t *testing.T) {
	s := says(t, someInfo)
	s.labels = func(*labelsRequest) string { return "" }
	c := s.client(t, ClientOptions{})
	q, err := c.ChunkQuerier(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, matchers := range [][]*labels.Matcher{{equal("cluster", "eu")}, {equal("cluster", "eu"), equal("a", "b")}} {
		set := q.Select(t.Context(), true, nil, matchers...)
		for set.Next() {
			t.Error("a series")
		}
		if err := set.Err(); err != nil {
			t.Fatal(err)
		}
		if req := <-s.requests; len(req.matchers) != 2 {
			t.Errorf("%v is asked for as %v", matchers, req.matchers)
		}
	}
}

// hanging waits until the call is over.
func hanging(first ...string) func(t testing.TB) *script {
	return func(t testing.TB) *script {
		s := says(t, someInfo, first...)
		before := s.series
		s.series = func(req *seriesRequest, stream grpc.ServerStream) error {
			if err := before(req, stream); err != nil {
				return err
			}
			<-stream.Context().Done()
			return stream.Context().Err()
		}
		return s
	}
}

// A server that hangs holds a read no longer than its context and its querier.
func TestServerThatHangs(t *testing.T) {
	for name, s := range map[string]*script{"at once": hanging()(t), "after a series": hanging(one(t, "a=1", 1))(t)} {
		c := s.client(t, ClientOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, _, err := read(ctx, c, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		q, err := c.ChunkQuerier(0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		set := q.Select(t.Context(), true, nil, equal("a", "1"))
		ended := make(chan error)
		go func() {
			for set.Next() {
			}
			ended <- set.Err()
		}()
		<-s.requests
		<-s.requests
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: after Close: %v", name, err)
		}
		if set := q.Select(t.Context(), true, nil, equal("a", "1")); set.Next() || set.Err() == nil {
			t.Errorf("%s: a closed querier reads on", name)
		}
	}
}

// A server that dies on the way leaves an error, and never half an answer that looks
// whole.
func TestServerThatDies(t *testing.T) {
	var server *grpc.Server
	s := &script{info: someInfo, series: func(_ *seriesRequest, stream grpc.ServerStream) error {
		if err := stream.SendMsg(encoded(wrote(t, "SeriesResponse", one(t, "a=1", 1)))); err != nil {
			return err
		}
		go server.Stop()
		<-stream.Context().Done()
		return stream.Context().Err()
	}}
	server = s.server(t)
	c := newClient(t, grpctest.Serve(t, server), ClientOptions{})
	_, _, err := read(t.Context(), c, nil)
	var answer *StatusError
	if !errors.As(err, &answer) || !answer.Unavailable() {
		t.Errorf("it died: %v", err)
	}
	if _, _, err := read(t.Context(), c, nil); !errors.As(err, &answer) || !answer.Unavailable() || !strings.Contains(err.Error(), "is the address right") {
		t.Errorf("it is dead: %v", err)
	}
	if err := c.Sync(t.Context()); !errors.As(err, &answer) {
		t.Errorf("Sync: %v", err)
	}
}

func TestServerThatTalksRubbish(t *testing.T) {
	for name, body := range map[string]string{
		"no message":          "\xff\xff\xff",
		"cut off":             "\x0a\x05\x0a",
		"a series cut off":    "\x0a\x02\x0a\x05",
		"a chunk cut off":     "\x0a\x03\x12\x01\x0a",
		"a warning that is 0": "\x00",
	} {
		s := &script{info: someInfo, series: func(_ *seriesRequest, stream grpc.ServerStream) error { return stream.SendMsg(encoded(body)) }}
		if _, _, err := read(t.Context(), s.client(t, ClientOptions{}), nil); err == nil || !errors.Is(err, grpcwire.ErrMalformed) || !strings.Contains(err.Error(), "makes no sense") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A server that is no store at all.
	none := newClient(t, grpctest.Serve(t, grpc.NewServer()), ClientOptions{})
	var answer *StatusError
	if err := none.Sync(t.Context()); !errors.As(err, &answer) || answer.Code != codes.Unimplemented || !strings.Contains(err.Error(), "is it a server of the StoreAPI") {
		t.Errorf("Sync: %v", err)
	}
	if _, _, err := read(t.Context(), none, nil); !errors.As(err, &answer) || answer.Code != codes.Unimplemented {
		t.Errorf("Select: %v", err)
	}
}

// A message that is larger than is taken is a limit that has a name.
func TestMessagesThatAreTooLarge(t *testing.T) {
	times := make([]int64, 1000)
	for i := range times {
		times[i] = int64(i)
	}
	c := says(t, someInfo, one(t, "a=1", times...)).client(t, ClientOptions{MaxMessageBytes: 1000})
	_, _, err := read(t.Context(), c, nil)
	var answer *StatusError
	if !errors.As(err, &answer) || !answer.LimitExceeded() {
		t.Errorf("%v", err)
	}
}

// What a server says it holds, in the ways that there are.
func TestStreamsOfServers(t *testing.T) {
	for name, c := range map[string]struct{ info, want string }{
		"TSDBs": {`store: {min_time: 1 max_time: 9 tsdb_infos: {labels: {labels: {name: "a" value: "1"}} min_time: 1 max_time: 2}
			tsdb_infos: {labels: {labels: {name: "a" value: "1"}} min_time: 5 max_time: 9} tsdb_infos: {labels: {} min_time: 3 max_time: 4}} label_sets: {labels: {name: "x" value: "y"}}`, `{} 3 4, {a="1"} 1 9`},
		"label sets":     {`store: {min_time: 1 max_time: 9} label_sets: {labels: {name: "a" value: "1"}} label_sets: {labels: {name: "a" value: "2"}}`, `{a="1"} 1 9, {a="2"} 1 9`},
		"only a range":   {`store: {min_time: 1 max_time: 9}`, `{} 1 9`},
		"nothing":        {`store: {min_time: 9223372036854775807 max_time: -9223372036854775808}`, ``},
		"no store":       {`ComponentType: "rule"`, ``},
		"not a word yet": {``, `{} -9223372036854775808 9223372036854775807`},
	} {
		client := (&script{info: c.info}).client(t, ClientOptions{})
		var got []string
		client.Streams(func(external labels.Labels, mint, maxt int64) bool {
			got = append(got, fmt.Sprint(external, " ", mint, " ", maxt))
			return true
		})
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
}
