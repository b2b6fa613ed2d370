package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage"
)

const (
	typeV1 = "application/x-protobuf"
	typeV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

// fakeStorage is an Appendable in memory with the head's rules: a series moves
// forward, its newest sample may be repeated.
type fakeStorage struct {
	mu        sync.Mutex
	refs      map[string]storage.SeriesRef // by tenant and labels
	newest    map[storage.SeriesRef]fakeSample
	stored    []fakeSample
	exemplars []exemplar.Exemplar
	families  map[string]metadata.Metadata
	open      int
	commits   int

	appenderErr, commitErr error
	appendErr              func(ls labels.Labels, t int64) error
}

type fakeSample struct {
	tenant, series string
	st, t          int64
	val            sampleValue
	opts           storage.AppendV2Options
}

func (s fakeSample) String() string {
	val := fmt.Sprint(s.val.v)
	if s.val.h != nil {
		val = s.val.h.String()
	}
	if s.val.fh != nil {
		val = s.val.fh.String()
	}
	return fmt.Sprintf("%s %s @%d %s", s.tenant, s.series, s.t, val)
}

func newFakeStorage() *fakeStorage {
	return &fakeStorage{refs: map[string]storage.SeriesRef{}, newest: map[storage.SeriesRef]fakeSample{}, families: map[string]metadata.Metadata{}}
}

func (f *fakeStorage) Appender(_ context.Context, tenant string) (storage.AppenderV2, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.appenderErr != nil {
		return nil, f.appenderErr
	}
	f.open++
	return &fakeAppender{to: f, tenant: tenant}, nil
}

func (f *fakeStorage) AppendMetadata(_ context.Context, tenant, family string, m metadata.Metadata) error {
	f.families[tenant+"/"+family] = m
	return nil
}

type fakeAppender struct {
	to     *fakeStorage
	tenant string
	refs   []storage.SeriesRef
	held   []fakeSample
	ex     []exemplar.Exemplar
}

func (a *fakeAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AppendV2Options) (storage.SeriesRef, error) {
	if a.to.appendErr != nil {
		if err := a.to.appendErr(ls, t); err != nil {
			return 0, err
		}
	}
	a.to.mu.Lock()
	defer a.to.mu.Unlock()
	key := a.tenant + ls.String()
	known, ok := a.to.refs[key]
	if !ok {
		known = storage.SeriesRef(len(a.to.refs) + 1)
		a.to.refs[key] = known
	}
	if ref != 0 && ref != known {
		return 0, fmt.Errorf("reference %d given for series %s, which has %d", ref, ls, known)
	}
	val := sampleValue{v, h, fh}
	if newest, ok := a.to.newest[known]; ok {
		if t < newest.t {
			return 0, storage.ErrOutOfOrderSample
		}
		if t == newest.t && !val.equal(newest.val) {
			return 0, storage.ErrDuplicateSampleForTimestamp
		}
	}
	a.refs = append(a.refs, known)
	var partial storage.AppendPartialError
	for _, e := range opts.Exemplars {
		if e.Labels.Get("refuse") != "" {
			partial.ExemplarErrors = append(partial.ExemplarErrors, storage.ErrOutOfOrderExemplar)
		} else {
			a.ex = append(a.ex, e)
		}
	}
	opts.Exemplars = nil
	a.held = append(a.held, fakeSample{a.tenant, ls.String(), st, t, val, opts})
	return known, partial.ToError()
}

func (a *fakeAppender) Commit() error {
	a.to.mu.Lock()
	defer a.to.mu.Unlock()
	a.to.open--
	if a.to.commitErr != nil {
		return a.to.commitErr
	}
	a.to.commits++
	for i, s := range a.held {
		newest, ok := a.to.newest[a.refs[i]]
		if ok && s.t <= newest.t {
			continue // As the head: without a word.
		}
		a.to.newest[a.refs[i]] = s
		a.to.stored = append(a.to.stored, s)
	}
	a.to.exemplars = append(a.to.exemplars, a.ex...)
	return nil
}

func (a *fakeAppender) Rollback() error {
	a.to.mu.Lock()
	defer a.to.mu.Unlock()
	a.to.open--
	return nil
}

func newTestHandler(t testing.TB, to Appendable, opts HandlerOptions) *Handler {
	t.Helper()
	h, err := NewHandler(to, opts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// rwRequest is a request to a handler.
type rwRequest struct {
	method  string // default POST
	typ     string // Content-Type
	headers map[string]string
	raw     []byte // the body as sent; encoded from message or body if nil
	body    []byte // before compression
	message interface{ Marshal() ([]byte, error) }
}

func (r rwRequest) send(t testing.TB, h http.Handler) *httptest.ResponseRecorder {
	t.Helper()
	if r.message != nil {
		var err error
		if r.body, err = r.message.Marshal(); err != nil {
			t.Fatal(err)
		}
		if _, ok := r.message.(*writev2.Request); ok && r.typ == "" {
			r.typ = typeV2
		}
	}
	return r.deliver(h)
}

// deliver sends r, whose body must be there.
func (r rwRequest) deliver(h http.Handler) *httptest.ResponseRecorder {
	if r.raw == nil {
		r.raw = snappy.Encode(nil, r.body)
	}
	if r.method == "" {
		r.method = http.MethodPost
	}
	req := httptest.NewRequest(r.method, "/api/v1/receive", bytes.NewReader(r.raw))
	req.Header.Set("Content-Encoding", "snappy")
	if r.typ != "" {
		req.Header.Set("Content-Type", r.typ)
	}
	for name, value := range r.headers {
		if value == "" {
			req.Header.Del(name)
		} else {
			req.Header.Set(name, value)
		}
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

func wantAnswer(t testing.TB, rec *httptest.ResponseRecorder, status int, texts ...string) {
	t.Helper()
	if rec.Code != status {
		t.Fatalf("status %d (%s), want %d", rec.Code, strings.TrimSpace(rec.Body.String()), status)
	}
	for _, text := range texts {
		if !strings.Contains(rec.Body.String(), text) {
			t.Errorf("the answer does not say %q:\n%s", text, rec.Body)
		}
	}
	if status == http.StatusNoContent && rec.Body.Len() > 0 {
		t.Errorf("a success has a body: %s", rec.Body)
	}
}

func wantWritten(t testing.TB, rec *httptest.ResponseRecorder, samples, histograms, exemplars int) {
	t.Helper()
	got := fmt.Sprint(rec.Header()[headerSamplesWritten], rec.Header()[headerHistogramsWritten], rec.Header()[headerExemplarsWritten])
	if want := fmt.Sprintf("[%d] [%d] [%d]", samples, histograms, exemplars); got != want {
		t.Errorf("written headers %s, want %s", got, want)
	}
}

// nowMs is a time that is not too far ahead.
func nowMs() int64 { return time.Now().UnixMilli() }

// v1Series makes a series of name=value pairs with one sample a time.
func v1Series(pairs []string, ts ...int64) prompb.TimeSeries {
	var s prompb.TimeSeries
	for i := 0; i+1 < len(pairs); i += 2 {
		s.Labels = append(s.Labels, prompb.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	for _, at := range ts {
		s.Samples = append(s.Samples, prompb.Sample{Timestamp: at, Value: float64(at % 1000)})
	}
	return s
}

func named(name string, more ...string) []string { return append([]string{"__name__", name}, more...) }

func v1(series ...prompb.TimeSeries) *prompb.WriteRequest {
	return &prompb.WriteRequest{Timeseries: series}
}

// v2Of translates a 1.0 request.
func v2Of(in *prompb.WriteRequest) *writev2.Request {
	table := writev2.NewSymbolTable()
	out := &writev2.Request{}
	refs := func(ls []prompb.Label) (out []uint32) {
		for _, l := range ls {
			out = append(out, table.Symbolize(l.Name), table.Symbolize(l.Value))
		}
		return out
	}
	for _, ts := range in.Timeseries {
		s := writev2.TimeSeries{LabelsRefs: refs(ts.Labels)}
		for _, p := range ts.Samples {
			s.Samples = append(s.Samples, writev2.Sample{Timestamp: p.Timestamp, Value: p.Value})
		}
		for _, h := range ts.Histograms {
			if h.IsFloatHistogram() {
				s.Histograms = append(s.Histograms, writev2.FromFloatHistogram(0, h.Timestamp, h.ToFloatHistogram()))
			} else {
				s.Histograms = append(s.Histograms, writev2.FromIntHistogram(0, h.Timestamp, h.ToIntHistogram()))
			}
		}
		for _, e := range ts.Exemplars {
			s.Exemplars = append(s.Exemplars, writev2.Exemplar{LabelsRefs: refs(e.Labels), Value: e.Value, Timestamp: e.Timestamp})
		}
		out.Timeseries = append(out.Timeseries, s)
	}
	out.Symbols = table.Symbols()
	return out
}

var (
	staleNaN  = math.Float64frombits(0x7ff0000000000002)
	errBroken = errors.New("the disk fell off")
)
