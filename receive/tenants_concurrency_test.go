package receive

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// Everything at once, as in a process that is being shut down under load: what
// was acknowledged is there afterwards, and no read met an error or a sample
// twice.
func TestEverythingAtOnce(t *testing.T) {
	leakCheck(t)
	dir := fastTempDir(t)
	opts := TenantsOptions{BlockDuration: time.Second, Interval: time.Millisecond, Registerer: prometheus.NewRegistry(), TSDBMetrics: true}
	tenants := openTenants(t, dir, opts)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var side sync.WaitGroup
	loop := func(do func() error) {
		side.Go(func() {
			for ctx.Err() == nil {
				if err := do(); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
					return
				}
			}
		})
	}
	side.Go(func() { _ = tenants.Run(ctx) })
	loop(func() error { return tenants.Flush(ctx) })
	loop(func() error { _, err := opts.Registerer.(*prometheus.Registry).Gather(); return err })
	loop(func() error {
		tenants.Streams(func(labels.Labels, int64, int64) bool { return true })
		tenants.BlockDirs(func(string, labels.Labels) bool { return true })
		_, err := tenants.MetricMetadata(ctx, "", 0)
		return err
	})
	for range 2 {
		loop(func() error { return readOnce(ctx, tenants) })
	}

	const writers, commits = 4, 300
	var acknowledged [writers]atomic.Int64
	var clock atomic.Int64
	clock.Store(base)
	var main sync.WaitGroup
	for w := range writers {
		main.Go(func() {
			for range commits {
				switch err := write(ctx, tenants, sprint("tenant-", w%2), clock.Add(5), 1, up(sprint(w))); {
				case err == nil:
					acknowledged[w].Add(1)
				case errors.Is(err, storage.ErrOutOfBounds): // A flush came between.
				default:
					t.Error(err)
				}
			}
		})
	}
	main.Wait()
	cancel()
	side.Wait()
	if err := errors.Join(tenants.Flush(t.Context()), tenants.Close()); err != nil {
		t.Fatal(err)
	}
	again := openTenants(t, dir, TenantsOptions{BlockDuration: time.Second})
	for w := range writers {
		got := mustReadAll(t, again, equal("instance", sprint(w)))
		if len(got) != 1 || int64(len(got[0].points)) != acknowledged[w].Load() {
			t.Errorf("writer %d: %d acknowledged, there are %v", w, acknowledged[w].Load(), got)
		}
	}
}

func readOnce(ctx context.Context, tenants *Tenants) error {
	series, err := read(ctx, tenants, math.MinInt64, math.MaxInt64)
	for _, s := range series {
		last := int64(math.MinInt64)
		for _, p := range s.points {
			if p.t <= last {
				return errors.New(s.labels + " has a sample twice")
			}
			last = p.t
		}
	}
	return err
}

// Whoever holds a reader, or an appender, and asks for another while Close waits
// for the first is refused. Waiting would be for one another.
func TestCloseRefusesWhoHoldsTheHeadAlready(t *testing.T) {
	leakCheck(t)
	for name, use := range map[string]func(*head) *gate{
		"reader": func(h *head) *gate { return &h.readers },
		"writer": func(h *head) *gate { return &h.writers },
	} {
		t.Run(name, func(t *testing.T) {
			tenants, err := OpenTenants(t.TempDir(), TenantsOptions{})
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, tenants, "a", base, 1, up("1"))
			s := tenants.slots["a"]
			held, err := s.enter(t.Context(), func(h *head) (*gate, error) { return use(h), nil })
			if err != nil {
				t.Fatal(err)
			}
			closed := make(chan error, 1)
			patience, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = s.enter(patience, func(h *head) (*gate, error) {
				// It has the head. Now it is closed, before it has passed the gate.
				go func() { closed <- tenants.Close() }()
				for g := use(h); ; time.Sleep(time.Millisecond) {
					g.mu.Lock()
					waiting := g.empty != nil
					g.mu.Unlock()
					if waiting {
						return g, nil
					}
				}
			})
			if !errors.Is(err, ErrClosed) {
				t.Errorf("a second one: %v, want ErrClosed", err)
			}
			use(held).leave()
			if err := <-closed; err != nil {
				t.Error(err)
			}
		})
	}
}
