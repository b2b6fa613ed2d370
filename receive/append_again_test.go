package receive

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
)

// disturbed opens appenders of which some, counted from 0, are disturbed before
// they are committed.
type disturbed struct {
	*countingSelects
	by     map[int]func()
	opened int
}

func (d *disturbed) Appender(ctx context.Context, tenant string) (storage.AppenderV2, error) {
	app, err := d.Tenants.Appender(ctx, tenant)
	if err != nil {
		return nil, err
	}
	d.opened++
	return &disturbedAppender{app.(*headAppender), d.by[d.opened-1]}, nil
}

func newDisturbed(tenants *Tenants) *disturbed {
	return &disturbed{countingSelects: &countingSelects{Tenants: tenants}, by: map[int]func(){}}
}

type disturbedAppender struct {
	*headAppender
	by func()
}

func (a *disturbedAppender) Commit() error {
	if a.by != nil {
		a.by()
	}
	return a.headAppender.Commit()
}

const minute = 60_000

func withValue(s prompb.TimeSeries, v float64) prompb.TimeSeries {
	for i := range s.Samples {
		s.Samples[i].Value = v
	}
	return s
}

func withHistogram(s prompb.TimeSeries, offset int64) prompb.TimeSeries {
	s.Histograms = append(s.Histograms, prompb.FromIntHistogram(base+offset, rwHistogram()))
	return s
}

// What another transaction has moved a series past between the append and the
// commit is not stored, and is not said to be.
func TestSamplesThatACommitLeavesOut(t *testing.T) {
	leakCheck(t)
	histogram := withHistogram(headSeries("1"), 5)
	for _, tc := range []struct {
		name       string
		opts       TenantsOptions
		msg        *prompb.WriteRequest
		others     map[int]*prompb.WriteRequest // by the transaction beside which they are stored
		status     int
		texts      []string
		floats     int
		histograms int
	}{
		{
			name:   "out of order",
			msg:    v1(headSeries("1", 5), headSeries("2", 4, 5), headSeries("new", 5)),
			others: map[int]*prompb.WriteRequest{0: v1(headSeries("1", 10))},
			status: 400, texts: []string{"out_of_order: 1", "3 of 4 samples", `i="1"`}, floats: 3,
		}, {
			name:   "all of a series but the oldest",
			msg:    v1(headSeries("1", 5, 6, 7), headSeries("2", 5)),
			others: map[int]*prompb.WriteRequest{0: v1(headSeries("1", 5, 7), headSeries("2", 5))},
			status: 400, texts: []string{"out_of_order: 1", "3 of 4 samples"}, floats: 3,
		}, {
			name:   "another value",
			msg:    v1(headSeries("1", 5), headSeries("2", 5)),
			others: map[int]*prompb.WriteRequest{0: v1(withValue(headSeries("1", 5), 77))},
			status: 400, texts: []string{"conflicting_value: 1", "1 of 2 samples"}, floats: 1,
		}, {
			name:   "the same value",
			msg:    v1(headSeries("1", 5), headSeries("2", 5)),
			others: map[int]*prompb.WriteRequest{0: v1(headSeries("1", 5))},
			status: 204, floats: 2,
		}, {
			name:   "a histogram",
			msg:    v1(histogram, headSeries("2", 5)),
			others: map[int]*prompb.WriteRequest{0: v1(withHistogram(headSeries("1"), 10))},
			status: 400, texts: []string{"out_of_order: 1", "1 of 2 samples"}, floats: 1,
		}, {
			name:   "another series",
			msg:    v1(histogram, headSeries("2", 5)),
			others: map[int]*prompb.WriteRequest{0: v1(headSeries("3", 10))},
			status: 204, floats: 1, histograms: 1,
		}, {
			name:   "older than the window",
			opts:   TenantsOptions{OutOfOrderWindow: minute * time.Millisecond},
			msg:    v1(headSeries("1", 5), headSeries("2", 5)),
			others: map[int]*prompb.WriteRequest{0: v1(headSeries("1", 2*minute))},
			status: 204, floats: 2, // What the tenant's newest was then counts.
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bothVersions(t, tc.msg, func(t *testing.T, req rwRequest) {
				to := newDisturbed(openTenants(t, t.TempDir(), tc.opts))
				other := newTestHandler(t, to.Tenants, HandlerOptions{})
				wantAnswer(t, rwRequest{message: v1(headSeries("1", 0), headSeries("2", 0))}.send(t, other), 204)
				for n, msg := range tc.others {
					to.by[n] = func() { wantAnswer(t, rwRequest{message: msg}.send(t, other), 204) }
				}
				rec := req.send(t, newTestHandler(t, to, HandlerOptions{}))
				wantAnswer(t, rec, tc.status, tc.texts...)
				if rec.Header().Get(headerSamplesWritten) != "" {
					wantWritten(t, rec, tc.floats, tc.histograms, 0)
				}
				floats, histograms, _ := countStored(t, to.Tenants, tc.msg)
				if floats != tc.floats || histograms != tc.histograms {
					t.Errorf("%d floats and %d histograms are stored, want %d and %d", floats, histograms, tc.floats, tc.histograms)
				}
			})
		})
	}
}

// So it is with what waits for a series that another transaction is making, and is
// appended by itself.
func TestPostponedSamplesThatACommitLeavesOut(t *testing.T) {
	leakCheck(t)
	msg := v1(headSeries("own", 5), headSeries("new", 5))
	bothVersions(t, msg, func(t *testing.T, req rwRequest) {
		to := newDisturbed(openTenants(t, t.TempDir(), TenantsOptions{}))
		other := newTestHandler(t, to.Tenants, HandlerOptions{})
		wantAnswer(t, rwRequest{message: v1(headSeries("1", 0))}.send(t, other), 204)
		making, err := to.Tenants.Appender(t.Context(), DefaultTenant)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := making.Append(0, labels.FromStrings(named("m", "i", "new")...), 0, base+3, 3, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
		to.by[0] = func() {
			if err := making.Commit(); err != nil {
				t.Error(err)
			}
		}
		to.by[1] = func() { wantAnswer(t, rwRequest{message: v1(headSeries("new", 10))}.send(t, other), 204) }
		wantAnswer(t, req.send(t, newTestHandler(t, to, HandlerOptions{})), 400, "out_of_order: 1", "1 of 2 samples", `i="new"`)
		if floats, _, _ := countStored(t, to.Tenants, msg); floats != 1 || to.opened != 3 {
			t.Errorf("%d samples are stored by %d transactions", floats, to.opened)
		}
	})
}

// A request that nobody disturbs is not looked at twice, and of one that somebody
// does only what is not the newest any more is looked up.
func TestCommitsLookUpLittle(t *testing.T) {
	const series = 300
	to := newDisturbed(openTenants(t, t.TempDir(), TenantsOptions{}))
	h := newTestHandler(t, to, HandlerOptions{})
	scrape := func(offset int64) rwRequest {
		msg := v1()
		for i := range series {
			msg.Timeseries = append(msg.Timeseries, headSeries(strconv.Itoa(i), offset))
		}
		return rwRequest{message: msg}
	}
	for i := range int64(3) {
		wantAnswer(t, scrape(i).send(t, h), 204)
	}
	if to.selects != 0 {
		t.Errorf("%d searches though nobody was about", to.selects)
	}
	other := newTestHandler(t, to.Tenants, HandlerOptions{})
	to.by[to.opened] = func() {
		wantAnswer(t, rwRequest{message: v1(headSeries("7", 9), headSeries("elsewhere", 9))}.send(t, other), 204)
	}
	wantAnswer(t, scrape(5).send(t, h), 400, "out_of_order: 1", fmt.Sprintf("%d of %d", series-1, series))
	if to.selects != 1 {
		t.Errorf("%d searches for one sample", to.selects)
	}
}

// A sample that is not late when it is appended, but is when it is committed, is as
// if it had come then: it is in the log of those out of order if a later one is, and
// comes back from there.
func TestSamplesThatAge(t *testing.T) {
	leakCheck(t)
	dir, opts := t.TempDir(), TenantsOptions{OutOfOrderWindow: 3 * time.Hour}
	to := newDisturbed(openTenants(t, dir, opts))
	other := newTestHandler(t, to.Tenants, HandlerOptions{})
	wantAnswer(t, rwRequest{message: v1(headSeries("1", 0), headSeries("2", 0))}.send(t, other), 204)
	to.by[0] = func() {
		wantAnswer(t, rwRequest{message: v1(headSeries("2", 120*minute))}.send(t, other), 204)
		wantAnswer(t, rwRequest{message: v1(headSeries("1", 30*minute))}.send(t, other), 204)
	}
	msg := v1(headSeries("1", 10*minute), headSeries("2", 10*minute))
	rec := rwRequest{message: v2Of(msg)}.send(t, newTestHandler(t, to, HandlerOptions{}))
	wantAnswer(t, rec, 204)
	wantWritten(t, rec, 2, 0, 0)
	want := headSamples(t, to.Tenants, DefaultTenant)
	if len(want) != 6 {
		t.Fatalf("there are %v", want)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, headSamples(t, openTenants(t, dir, opts), DefaultTenant)); diff != "" {
		t.Errorf("samples (-before +after a restart):\n%s", diff)
	}
}

// Who appends to a tenant himself is told to append the same again, and of nothing
// that was appended anything is left.
func TestTransactionThatAges(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{OutOfOrderWindow: 3 * time.Hour})
	mustWrite(t, tenants, "a", base, 1, up("1"), up("2"))
	app := mustAppender(t, tenants)
	if _, err := app.Append(0, up("1"), 0, base+10*minute, 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, tenants, "a", base+120*minute, 1, up("2"))
	err := app.Commit()
	if says, ok := errorAs[retryabler](err); !ok || !says.Retryable() {
		t.Fatalf("commit: %v", err)
	}
	if got := mustReadAll(t, tenants, equal("instance", "1")); len(got) != 1 || len(got[0].points) != 1 {
		t.Errorf("read %v", got)
	}
	mustWrite(t, tenants, "a", base+10*minute, 1, up("1"))
	if got := mustReadAll(t, tenants, equal("instance", "1")); len(got) != 1 || len(got[0].points) != 2 {
		t.Errorf("read %v after it was appended again", got)
	}
}

// renamed is a host's storage that keeps tenants under other names.
type renamed struct{ *disturbed }

func (r renamed) Appender(ctx context.Context, tenant string) (storage.AppenderV2, error) {
	return r.disturbed.Appender(ctx, "team-"+tenant)
}

func (r renamed) StoredQuerier(ctx context.Context, tenant string, mint, maxt int64) (storage.ChunkQuerier, error) {
	return r.disturbed.StoredQuerier(ctx, "team-"+tenant, mint, maxt)
}

// What is appended anew goes through whatever a host has put around the tenants.
func TestAppendedAnewByTheHost(t *testing.T) {
	to := newDisturbed(openTenants(t, t.TempDir(), TenantsOptions{}))
	h := newTestHandler(t, renamed{to}, HandlerOptions{})
	wantAnswer(t, rwRequest{message: v1(headSeries("1", 0), headSeries("2", 0))}.send(t, h), 204)
	to.by[1] = func() { wantAnswer(t, rwRequest{message: v1(headSeries("2", 10))}.send(t, h), 204) }
	wantAnswer(t, rwRequest{message: v1(headSeries("1", 5), headSeries("2", 5))}.send(t, h), 400, "out_of_order: 1", "1 of 2 samples")
	if len(to.slots) != 1 || to.slots["team-"+DefaultTenant] == nil {
		t.Errorf("tenants are %v", to.slots)
	}
}

// believed is a host's storage that cannot be asked what it has.
type believed struct{ to *disturbed }

func (b believed) Appender(ctx context.Context, tenant string) (storage.AppenderV2, error) {
	return b.to.Appender(ctx, tenant)
}

// Who cannot be asked what is there is believed to have stored what it has taken.
func TestStorageThatCannotBeAskedIsBelieved(t *testing.T) {
	to := newDisturbed(openTenants(t, t.TempDir(), TenantsOptions{}))
	other := newTestHandler(t, to.Tenants, HandlerOptions{})
	wantAnswer(t, rwRequest{message: v1(headSeries("1", 0), headSeries("2", 0))}.send(t, other), 204)
	to.by[0] = func() { wantAnswer(t, rwRequest{message: v1(headSeries("2", 5))}.send(t, other), 204) }
	msg := v1(headSeries("1", 4, 5), headSeries("2", 5))
	wantAnswer(t, rwRequest{message: msg}.send(t, newTestHandler(t, believed{to}, HandlerOptions{})), 204)
}

// Of a request of more samples of one series than are looked up of others, which
// comes twice at once, all is found to be there.
func TestTheSameAtOnce(t *testing.T) {
	const n = 30_000
	to := newDisturbed(openTenants(t, t.TempDir(), TenantsOptions{}))
	offsets := make([]int64, n)
	for i := range offsets {
		offsets[i] = int64(i + 1)
	}
	msg := v1(headSeries("1", offsets...))
	other := newTestHandler(t, to.Tenants, HandlerOptions{})
	wantAnswer(t, rwRequest{message: v1(headSeries("1", 0))}.send(t, other), 204)
	to.by[0] = func() { wantAnswer(t, rwRequest{message: msg}.send(t, other), 204) }
	wantAnswer(t, rwRequest{message: msg}.send(t, newTestHandler(t, to, HandlerOptions{})), 204)
}
