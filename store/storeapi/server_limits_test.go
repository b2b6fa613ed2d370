package storeapi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"google.golang.org/grpc"

	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// held is a source whose Selects wait until release is closed.
type held struct {
	fixed
	begun   chan string // the tenants of those that wait
	release chan struct{}
}

func (h *held) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	q, err := h.fixed.ChunkQuerier(mint, maxt)
	return &heldQuerier{q, h}, err
}

type heldQuerier struct {
	storage.ChunkQuerier
	of *held
}

func (q *heldQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	q.of.begun <- readopts.From(ctx).Tenant
	select {
	case <-q.of.release:
	case <-ctx.Done():
	}
	return q.ChunkQuerier.Select(ctx, sorted, hints, matchers...)
}

// So many calls of Series run at a time, so many wait, and others are told to come
// back, as are those that have waited for too long. Questions about labels are answered.
func TestCallsOfSeriesWaitTheirTurn(t *testing.T) {
	for limit, opts := range map[string]ServerOptions{
		"MaxQueued":    {MaxConcurrent: 1, MaxQueued: 1},
		"QueueTimeout": {MaxConcurrent: 1, MaxQueued: 2, QueueTimeout: 10 * time.Millisecond},
	} {
		source := &held{begun: make(chan string, 9), release: make(chan struct{})}
		reg := prometheus.NewRegistry()
		opts.Registerer = reg
		c := over(t, source, way{server: opts})
		ended := make(chan error, 9)
		ask := func() {
			go func() {
				_, _, err := read(t.Context(), c, nil)
				ended <- err
			}()
		}
		ask()
		<-source.begun
		ask()
		if limit == "MaxQueued" { // the second stays
			for ; ; time.Sleep(time.Millisecond) {
				if n, err := testutil.GatherAndCount(reg, "varve_storeapi_server_queue_waiting"); err != nil || n != 1 {
					t.Fatal(n, err)
				}
				if gauge(t, reg, "varve_storeapi_server_queue_waiting") == 1 {
					break
				}
			}
			ask()
		}
		var answer *StatusError
		err := <-ended
		if !errors.As(err, &answer) || !strings.Contains(err.Error(), limit) {
			t.Errorf("%s: %v", limit, err)
			continue
		}
		if after, busy := answer.Overloaded(); !busy || after != busyRetryAfter {
			t.Errorf("%s: %v is worth a try after %s: %v", limit, err, after, busy)
		}
		q, _ := c.ChunkQuerier(0, 1)
		if _, _, err := q.LabelNames(t.Context(), nil); err != nil {
			t.Errorf("%s: labels: %v", limit, err)
		}
		close(source.release)
		for range map[string]int{"MaxQueued": 2, "QueueTimeout": 1}[limit] {
			if err := <-ended; err != nil {
				t.Errorf("%s: one that ran: %v", limit, err)
			}
		}
	}
}

func gauge(t *testing.T, reg prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// Who has all places and does not read waits for nobody, and nobody for him: a client
// that reads the last of its answers first must get that.
func TestCallsThatNobodyReadsGiveUpTheirPlace(t *testing.T) {
	source := &fixed{endless: true}
	c := over(t, source, way{
		server: ServerOptions{MaxConcurrent: 2},
		dial:   []grpc.DialOption{grpc.WithStaticStreamWindowSize(256 << 10), grpc.WithStaticConnWindowSize(64 << 20)},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var sets []storage.ChunkSeriesSet
	for range 5 {
		q, err := c.ChunkQuerier(0, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		sets = append(sets, q.Select(ctx, true, nil, equal("a", "")))
	}
	for i := len(sets) - 1; i >= 0; i-- {
		for range 5000 { // more than the window
			if !sets[i].Next() {
				t.Fatalf("answer %d: %v", i, sets[i].Err())
			}
		}
	}
}

// Turns are by tenant, of our clients or Thanos'.
func TestTurnsAreByTenant(t *testing.T) {
	source := &held{begun: make(chan string, 100), release: make(chan struct{})}
	reg := prometheus.NewRegistry()
	c := over(t, source, way{server: ServerOptions{MaxConcurrent: 1, Registerer: reg}})
	ended := make(chan error, 9)
	for i, tenant := range []string{"heavy", "heavy", "heavy", "light"} {
		go func() {
			_, _, err := read(readopts.With(t.Context(), readopts.Options{Tenant: tenant}), c, nil)
			ended <- err
		}()
		if i == 0 {
			if got := <-source.begun; got != "heavy" {
				t.Fatal(got)
			}
			continue
		}
		for gauge(t, reg, "varve_storeapi_server_queue_waiting") != float64(i) {
			time.Sleep(time.Millisecond)
		}
	}
	close(source.release)
	for i, want := range []string{"heavy", "light", "heavy"} {
		if next := <-source.begun; next != want {
			t.Errorf("number %d after the first is of %s, want %s", 1+i, next, want)
		}
	}
	for range 4 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// A budget limits each call by itself, whatever the source, and holds nothing after it.
func TestBudgetOfCalls(t *testing.T) {
	some := func(names ...string) (all []storage.ChunkSeries) {
		for _, name := range names {
			all = append(all, series(labels.FromStrings("a", name), chunks.Meta{MinTime: 1, MaxTime: 2, Chunk: xor(t, 1, 2)}))
		}
		return all
	}
	for limit, c := range map[string]struct {
		opts       readcost.BudgetOptions
		fits, none []storage.ChunkSeries
	}{
		"QuerySeries":  {readcost.BudgetOptions{QuerySeries: 2}, some("1", "2"), some("1", "2", "3")},
		"QuerySamples": {readcost.BudgetOptions{QuerySamples: 5}, some("1", "2"), some("1", "2", "3")},
	} {
		budget, err := readcost.NewBudget(c.opts)
		if err != nil {
			t.Fatal(err)
		}
		source := &fixed{series: c.fits}
		client := over(t, source, way{server: ServerOptions{Budget: budget}})
		for range 3 {
			if _, _, err := read(t.Context(), client, nil); err != nil {
				t.Errorf("%s: what fits: %v", limit, err)
			}
		}
		source.series = c.none
		for _, ctx := range []context.Context{t.Context(), partial(t.Context())} {
			var answer *StatusError
			if _, _, err := read(ctx, client, nil); !errors.As(err, &answer) || !answer.LimitExceeded() || !strings.Contains(err.Error(), limit) {
				t.Errorf("%s: %v", limit, err)
			}
		}
		if n := budget.InUse(); n != 0 {
			t.Errorf("%s: %d bytes are still in use", limit, n)
		}
	}
}

func TestServerOptions(t *testing.T) {
	_, err := NewServer(&fixed{}, ServerOptions{MaxQueued: -1, QueueTimeout: -time.Second})
	if err == nil || !strings.Contains(err.Error(), "MaxQueued is -1") || !strings.Contains(err.Error(), "QueueTimeout is -1s") {
		t.Errorf("%v", err)
	}
	s, err := NewServer(&fixed{}, ServerOptions{MaxConcurrent: -1})
	if err != nil || s.queue != nil {
		t.Errorf("no limit: %v", err)
	}
}
