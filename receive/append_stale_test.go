package receive

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

const hour = 60 * minute

// meddled opens appenders between whose calls something happens.
type meddled struct {
	*Tenants
	// unlogged is called once, when a series is another transaction's.
	unlogged func()
	// asked is called before a reference is asked for, and what it returns after.
	asked func(hash uint64) func()
}

type meddledAppender struct {
	*headAppender
	by *meddled
}

func (m *meddled) Appender(ctx context.Context, tenant string) (storage.AppenderV2, error) {
	app, err := m.Tenants.Appender(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return &meddledAppender{app.(*headAppender), m}, nil
}

func (a *meddledAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	out, err := a.headAppender.Append(ref, ls, st, t, v, h, fh, opts)
	if errors.Is(err, ErrSeriesUnlogged) && a.by.unlogged != nil {
		a.by.unlogged()
		a.by.unlogged = nil
	}
	return out, err
}

func (a *meddledAppender) GetRef(ls labels.Labels, hash uint64) (storage.SeriesRef, labels.Labels) {
	if a.by.asked != nil {
		defer a.by.asked(hash)()
	}
	return a.headAppender.GetRef(ls, hash)
}

// withDroppedSeries returns tenants whose handler knows the series "first" and
// "gone", the second of which the head has dropped since. The references are there
// still, as between the cut and their being forgotten.
func withDroppedSeries(t *testing.T) (*meddled, *Handler) {
	t.Helper()
	to := &meddled{Tenants: openTenants(t, t.TempDir(), TenantsOptions{})}
	h := newTestHandler(t, to, HandlerOptions{TooFarInFuture: -1, DefaultTenant: "a"})
	for scrape := range int64(2) {
		wantAnswer(t, rwRequest{message: v1(headSeries("first", scrape), headSeries("gone", scrape))}.send(t, h), 204)
	}
	for _, offset := range []int64{3 * hour, 10 * hour, 20*hour - minute} {
		wantAnswer(t, rwRequest{message: v1(headSeries("first", offset))}.send(t, h), 204)
	}
	db := to.slots["a"].head.db
	block := tsdb.NewRangeHeadWithIsolationDisabled(db.Head(), db.Head().MinTime(), rangeEnd(db.Head().MinTime(), 2*hour)-1)
	if err := db.CompactHead(block); err != nil {
		t.Fatal(err)
	}
	if n := db.Head().NumSeries(); n != 1 {
		t.Fatalf("%d series are left", n)
	}
	return to, h
}

// What a request has of a series already counts, also if the series was dropped
// from memory while its reference was still remembered.
func TestReferenceThatIsOutOfDate(t *testing.T) {
	other := withValue(headSeries("gone", 20*hour), 77)
	for name, tc := range map[string]struct {
		series []prompb.TimeSeries
		text   string
	}{
		"another value": {[]prompb.TimeSeries{headSeries("gone", 20*hour), other}, "conflicting_value: 1"},
		"older":         {[]prompb.TimeSeries{headSeries("gone", 20*hour), headSeries("gone", 20*hour-5)}, "out_of_order: 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, h := withDroppedSeries(t)
			msg := v1(append([]prompb.TimeSeries{headSeries("first", 20*hour)}, tc.series...)...)
			wantAnswer(t, rwRequest{message: msg}.send(t, h), 400, tc.text, "2 of 3 samples")
		})
	}
}

// And what comes of a series that another transaction is making again waits with
// what came before it.
func TestReferenceOfASeriesInTheMaking(t *testing.T) {
	to, h := withDroppedSeries(t)
	owner, err := to.Tenants.Appender(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Append(0, labels.FromStrings(named("m", "i", "gone")...), 0, base+20*hour-5, 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	to.unlogged = func() {
		if err := owner.Commit(); err != nil {
			t.Error(err)
		}
	}
	msg := v1(headSeries("new", 20*hour), headSeries("gone", 20*hour), headSeries("gone", 20*hour+1))
	wantAnswer(t, rwRequest{message: msg}.send(t, h), 204)
	if to.unlogged != nil {
		t.Error("the series was not in the making")
	}
}

// A head that had nothing but late samples forgets their references with them.
func TestFlushOfLateSamplesForgetsReferences(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{OutOfOrderWindow: time.Hour})
	h := newTestHandler(t, tenants, HandlerOptions{TooFarInFuture: -1, DefaultTenant: "a"})
	for _, offset := range []int64{10 * minute, 5 * minute} {
		wantAnswer(t, rwRequest{message: v1(headSeries("first", offset), headSeries("1", offset))}.send(t, h), 204)
		if err := tenants.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(tenants.slots["a"].head.refs.table.learnt); n != 0 {
		t.Errorf("%d references to series that are gone", n)
	}
	msg := v1(headSeries("first", 11*minute), headSeries("1", 11*minute), withValue(headSeries("1", 11*minute), 77))
	wantAnswer(t, rwRequest{message: msg}.send(t, h), 400, "conflicting_value: 1")
}

// A series that another transaction looks for in this moment is still the one that
// the request has a sample of.
func TestSeriesUnderAnotherEncoding(t *testing.T) {
	to := &meddled{Tenants: openTenants(t, t.TempDir(), TenantsOptions{})}
	h := newTestHandler(t, to, HandlerOptions{TooFarInFuture: -1, DefaultTenant: "a"})
	for scrape := range int64(2) {
		wantAnswer(t, rwRequest{message: v1(headSeries("first", scrape), headSeries("1", scrape))}.send(t, h), 204)
	}
	asked := 0
	to.asked = func(hash uint64) func() {
		asked++
		other, err := to.Tenants.Appender(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		a, u := other.(*headAppender), to.slots["a"].head.unlogged
		u.take(a, hash)
		return func() {
			u.release(a, hash)
			_ = other.Rollback()
		}
	}
	again := headSeries("1", 9)
	again.Labels[0], again.Labels[1] = again.Labels[1], again.Labels[0]
	msg := v1(headSeries("first", 10), headSeries("1", 10), again)
	wantAnswer(t, rwRequest{message: msg}.send(t, h), 400, "out_of_order: 1")
	if asked == 0 {
		t.Error("nobody has asked for the reference")
	}
}

// A series that another transaction is making is counted, and not new.
func TestActiveSeriesInTheMaking(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	h := newTestHandler(t, tenants, HandlerOptions{TooFarInFuture: -1, DefaultTenant: "a", Limits: func() *LimitSet {
		return &LimitSet{Default: Limits{ActiveSeries: 1}}
	}})
	owner := mustAppender(t, tenants)
	if _, err := owner.Append(0, labels.FromStrings(named("m", "i", "new")...), 0, base, 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = owner.Commit() })
	wantAnswer(t, rwRequest{message: v1(headSeries("new", 1))}.send(t, h), 204)
	wantAnswer(t, rwRequest{message: v1(headSeries("other", 1))}.send(t, h), 400, "it is new")
}
