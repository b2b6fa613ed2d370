package otlp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/storage"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/receive"
)

// deltaRequest has a delta point of each type.
func deltaRequest(t pcommon.Timestamp, n int64) pmetric.Metrics {
	md, ms := newRequest()
	sum(ms, "n", delta, n, t).SetStartTimestamp(t - pcommon.Timestamp(time.Minute))
	explicit(ms, "e", delta, t, uint64(n), 1)
	exponential(ms, "x", delta, t, 1, int32(n), uint64(n), 2)
	gauge(ms, "g", float64(n), t)
	return md
}

func TestNativeDelta(t *testing.T) {
	var to recorder
	h := newTestHandler(t, &to, Options{Delta: DeltaNative})
	send(t, h, deltaRequest(second, 3)).stored(t)
	send(t, h, deltaRequest(at(time.Minute), 4)).stored(t)
	lines := strings.Join(to.lines(), "\n")
	for _, want := range []string{
		`{__name__="n_total", job="svc"} @1700000000000 3`,
		`{__name__="n_total", job="svc"} @1700000060000 4`,
		`{__name__="e_bucket", job="svc", le="+Inf"} @1700000060000 5`,
	} {
		if !strings.Contains(lines, want) {
			t.Errorf("%s is missing in\n%s", want, lines)
		}
	}
	for _, s := range to.stored {
		if s.series == `{__name__="x", job="svc"}` && s.h.CounterResetHint != histogram.GaugeType {
			t.Errorf("a delta histogram is stored with reset hint %v", s.h.CounterResetHint)
		}
	}
}

func TestDeltaToCumulative(t *testing.T) {
	var to recorder
	h := newTestHandler(t, &to, Options{Delta: DeltaCumulative})
	send(t, h, deltaRequest(second, 3)).stored(t)
	send(t, h, deltaRequest(at(time.Minute), 4)).stored(t)
	// A repeated request adds nothing.
	send(t, h, deltaRequest(at(time.Minute), 4)).stored(t)
	want := []string{
		`{__name__="e_bucket", job="svc", le="+Inf"} @1700000000000 4`,
		`{__name__="e_bucket", job="svc", le="+Inf"} @1700000060000 9`,
		`{__name__="e_bucket", job="svc", le="1"} @1700000000000 3`,
		`{__name__="e_bucket", job="svc", le="1"} @1700000060000 7`,
		`{__name__="e_count", job="svc"} @1700000000000 4`,
		`{__name__="e_count", job="svc"} @1700000060000 9`,
		`{__name__="e_sum", job="svc"} @1700000000000 40`,
		`{__name__="e_sum", job="svc"} @1700000060000 90`,
		`{__name__="g", job="svc"} @1700000000000 3`,
		`{__name__="g", job="svc"} @1700000060000 4`,
		`{__name__="n_total", job="svc"} @1700000000000 3`,
		`{__name__="n_total", job="svc"} @1700000060000 7`,
		`{__name__="x", job="svc"} @1700000000000 {count:5, sum:5, (2.82842712474619,4]:3, (4,5.65685424949238]:2}`,
		`{__name__="x", job="svc"} @1700000060000 {count:11, sum:11, (2.82842712474619,4]:3, (4,5.65685424949238]:6, (5.65685424949238,8]:2}`,
	}
	if d := cmp.Diff(want, to.lines()); d != "" {
		t.Error(d)
	}
	for _, s := range to.stored {
		if s.series == `{__name__="n_total", job="svc"}` && (s.st != now-60_000 || s.opts.Metadata.Type != "counter") {
			t.Errorf("%s starts at %d, type %s: want the start of the stream and a counter", s, s.st, s.opts.Metadata.Type)
		}
	}
	older := deltaRequest(second, 5)
	gauge(older.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics(), "other", 1, second)
	a := send(t, h, older)
	if a.status != http.StatusOK || a.rejected != 4 || !strings.Contains(a.text, "out_of_order") {
		t.Errorf("an older request: answer %d, %d rejected: %s", a.status, a.rejected, a.text)
	}
}

// A request that fails in the storage is as if it had not been sent: sent again
// it is added once.
func TestDeltaSurvivesFailures(t *testing.T) {
	var to recorder
	h := newTestHandler(t, &to, Options{Delta: DeltaCumulative})
	send(t, h, deltaRequest(second, 3)).stored(t)
	for _, fail := range []func(){
		func() { to.commitErr = errors.New("broken") },
		func() { to.openErr = receive.ErrUnavailable },
	} {
		fail()
		if a := send(t, h, deltaRequest(at(time.Minute), 4)); a.status != http.StatusServiceUnavailable {
			t.Fatalf("answer %d", a.status)
		}
		to.commitErr, to.openErr = nil, nil
	}
	send(t, h, deltaRequest(at(time.Minute), 4)).stored(t)
	if want := `{__name__="n_total", job="svc"} @1700000060000 7`; !strings.Contains(strings.Join(to.lines(), "\n"), want) {
		t.Errorf("%s is missing in %q", want, to.lines())
	}
}

// heldUp is a storage whose first appender is let go by the test.
type heldUp struct {
	recorder
	once          sync.Once
	reached, free chan struct{}
}

func (h *heldUp) Appender(ctx context.Context, tenant string) (storage.AppenderV2, error) {
	h.once.Do(func() {
		close(h.reached)
		<-h.free
	})
	return h.recorder.Appender(ctx, tenant)
}

// Who waits for another request of its tenant waits no longer than its sender, is
// told to come again, and adds nothing.
func TestDeltaWaitsAsLongAsTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := heldUp{reached: make(chan struct{}), free: make(chan struct{})}
		h := newHandlerOn(t, &to, receive.HandlerOptions{TooFarInFuture: -1}, Options{Delta: DeltaCumulative})
		var first sync.WaitGroup
		first.Go(func() { send(t, h, deltaRequest(second, 3)).stored(t) })
		<-to.reached
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(proto(t, deltaRequest(at(time.Minute), 4))))
		r.Header.Set("Content-Type", protoType)
		h.ServeHTTP(w, r)
		if a := readAnswer(t, w); a.status != http.StatusServiceUnavailable || !strings.Contains(a.text, "send it again") || a.header.Get("Retry-After") == "" {
			t.Errorf("answer %d: %s", a.status, a.text)
		}
		close(to.free)
		first.Wait()
		send(t, h, deltaRequest(at(time.Minute), 4)).stored(t)
		if want := `{__name__="n_total", job="svc"} @1700000060000 7`; !strings.Contains(strings.Join(to.lines(), "\n"), want) {
			t.Errorf("%s is missing in %q", want, to.lines())
		}
		for _, tenant := range h.deltas.tenants {
			if tenant.users != 0 {
				t.Errorf("%d transactions are left", tenant.users)
			}
		}
	})
}

func TestDeltaStreamsAreTheTenants(t *testing.T) {
	var to recorder
	h := newTestHandler(t, &to, Options{Delta: DeltaCumulative})
	for i, tenant := range []string{"a", "b"} {
		md, ms := newRequest()
		sum(ms, "n", delta, int64(i+1), second)
		post(t, h, proto(t, md), "Content-Type", protoType, receive.DefaultTenantHeader, tenant).stored(t)
	}
	for i, s := range to.stored {
		if s.v != float64(i+1) {
			t.Errorf("tenant %s has %v, want %d", s.tenant, s.v, i+1)
		}
	}
}

func TestDeltaStreamsAreBounded(t *testing.T) {
	var to recorder
	h := newTestHandler(t, &to, Options{Delta: DeltaCumulative, MaxDeltaStreams: 2, DeltaMaxStale: time.Hour})
	md, ms := newRequest()
	for i := range 4 {
		sum(ms, fmt.Sprint("n", i), delta, 1, second)
	}
	a := send(t, h, md)
	if a.status != http.StatusOK || a.rejected != 2 || !strings.Contains(a.text, "2 streams of delta temporality") || h.deltas.count() != 2 {
		t.Errorf("answer %d, %d rejected, %v streams: %s", a.status, a.rejected, h.deltas.count(), a.text)
	}
	// What has been quiet for long makes room.
	h.deltas.stale = time.Nanosecond
	md, ms = newRequest()
	sum(ms, "n3", delta, 5, at(time.Minute))
	sum(ms, "n4", delta, 6, at(time.Minute))
	send(t, h, md).stored(t)
	if h.deltas.count() != 2 {
		t.Errorf("%v streams", h.deltas.count())
	}
}

func TestDeltaNoRecordedValueEndsTheStream(t *testing.T) {
	var to recorder
	h := newTestHandler(t, &to, Options{Delta: DeltaCumulative})
	md, ms := newRequest()
	sum(ms, "n", delta, 5, second)
	send(t, h, md).stored(t)
	md, ms = newRequest()
	sum(ms, "n", delta, 0, at(time.Second)).SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	send(t, h, md).stored(t)
	md, ms = newRequest()
	sum(ms, "n", delta, 2, at(2*time.Second))
	send(t, h, md).stored(t)
	want := []string{
		`{__name__="n_total", job="svc"} @1700000000000 5`,
		`{__name__="n_total", job="svc"} @1700000001000 stale`,
		`{__name__="n_total", job="svc"} @1700000002000 2`,
	}
	if d := cmp.Diff(want, to.lines()); d != "" {
		t.Error(d)
	}
}

// Whatever the scales and offsets, no observation is lost or made up, and the
// buckets stay few.
func TestDeltaBucketsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		side := func(name string) (int32, int32, []uint64) {
			scale := rapid.OneOf(rapid.Int32Range(-4, 20), rapid.Int32()).Draw(t, name+" scale")
			offset := rapid.OneOf(rapid.Int32Range(-300, 300), rapid.Int32()).Draw(t, name+" offset")
			return max(scale, -4), offset, rapid.SliceOfN(rapid.Uint64Range(0, 9), 0, 20).Draw(t, name+" counts")
		}
		total := func(b deltaBuckets) (n uint64) {
			for _, c := range b.counts {
				n += c
			}
			return n
		}
		_, ms := newRequest()
		scale, offset, counts := side("first")
		p := exponential(ms, "x", delta, second, scale, offset, counts...)
		s := newDeltaStream(point{exponential: &p})
		want := total(s.pos)
		for i := range rapid.IntRange(1, 5).Draw(t, "more") {
			scale, offset, counts := side(fmt.Sprint(i))
			p := exponential(ms, "x", delta, second, scale, offset, counts...)
			next, bad := s.plus(point{exponential: &p})
			if bad != nil {
				continue
			}
			s = next
			want += total(bucketsOf(p.Positive()))
			if got := total(s.pos); got != want || len(s.pos.counts) > maxDeltaBuckets {
				t.Fatalf("%d observations in %d buckets, want %d", got, len(s.pos.counts), want)
			}
		}
	})
}
