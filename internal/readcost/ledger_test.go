package readcost

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func newBudget(t *testing.T, opts BudgetOptions) *Budget {
	t.Helper()
	b, err := NewBudget(opts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func limitOf(t *testing.T, err error) *LimitError {
	t.Helper()
	var limit *LimitError
	if !errors.As(err, &limit) {
		t.Fatalf("got %v, want a *LimitError", err)
	}
	return limit
}

// However many reads take and give at once, and however they end, there is never
// more taken than the limits allow, and in the end nothing.
func TestNothingIsLostAndNothingExceeded(t *testing.T) {
	const query, total = 1000, 3000
	b := newBudget(t, BudgetOptions{QueryBytes: query, TotalBytes: total})
	var readers sync.WaitGroup
	for seed := range uint64(16) {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1))
			for range 200 {
				c := b.Open()
				var workers sync.WaitGroup
				for range 3 {
					n := int64(rnd.IntN(500))
					workers.Go(func() {
						hold := Charge{Cost: c, Use: Use(n % int64(uses))}
						defer hold.Free()
						for range 4 {
							if hold.Take(n) != nil {
								return
							}
							hold.Shrink(n)
						}
						if n%3 == 0 {
							hold.Pass() // left to Close
						}
					})
				}
				if seed%2 == 0 {
					workers.Wait()
				}
				c.Close() // while others still take and give
				if peak := c.Report().PeakBytes; peak > query {
					t.Errorf("a query held %d bytes", peak)
				}
				workers.Wait()
			}
		})
	}
	watched := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-stop:
				return
			default:
				// What is asked for and refused is in it for a moment.
				if used := b.InUse(); used < 0 || used > total+16*3*500 {
					t.Errorf("%d bytes are in use", used)
					return
				}
				time.Sleep(time.Millisecond)
			}
		}
	}()
	readers.Wait()
	close(stop)
	<-watched
	if used := b.InUse(); used != 0 {
		t.Errorf("%d bytes are in use in the end", used)
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	open := func(opts BudgetOptions) *Cost { return newBudget(t, opts).Open() }
	for name, c := range map[string]struct {
		err  func() error
		want []string
	}{
		"memory": {
			func() error {
				c := open(BudgetOptions{QueryBytes: 20 << 20})
				if err := c.Take(PostingsInFlight, 15<<20); err != nil {
					return err
				}
				return c.Take(Kept, 15<<20)
			},
			[]string{"QueryBytes", "20 MiB", "30 MiB", "postings 15 MiB", "kept 15 MiB", "select fewer series or less time", "raise"},
		},
		"what headers tell": {
			func() error { return open(BudgetOptions{QueryBytes: 1000}).Admit(Least{Postings: 900, Kept: 101}) },
			[]string{"QueryBytes", "at least 1001 bytes", "1000 bytes"},
		},
		"fetched": {
			func() error { return open(BudgetOptions{QueryFetch: 10}).Fetch(11) },
			[]string{"QueryFetch", "11 bytes of the bucket", "10 bytes"},
		},
		"blocks": {
			func() error {
				c := open(BudgetOptions{QueryBlocks: 4})
				return errors.Join(c.Blocks(3), c.Blocks(2))
			},
			[]string{"QueryBlocks", "5 blocks", "4 blocks"},
		},
		"series": {
			func() error { return open(BudgetOptions{QuerySeries: 1}).Returned(2, 0, 0) },
			[]string{"QuerySeries", "2 series", "1 series"},
		},
		"samples": {
			func() error { return open(BudgetOptions{QuerySamples: 100}).Returned(1, 1, 120) },
			[]string{"QuerySamples", "120 samples", "100 samples"},
		},
	} {
		err := c.err()
		limit := limitOf(t, err)
		if _, busy := limit.Overloaded(); busy || !limit.LimitExceeded() || !IsRefusal(err) {
			t.Errorf("%s: %v is not a limit of the query", name, err)
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not say %q", name, err, part)
			}
		}
	}
}

// What does not fit because of others is not the query's fault, and fits once
// they have ended.
func TestBusyProcess(t *testing.T) {
	b := newBudget(t, BudgetOptions{QueryBytes: 100, TotalBytes: 150, RetryAfter: 3 * time.Second})
	first, second, third := b.Open(), b.Open(), b.Open()
	if err := first.Take(Kept, 100); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"taken": second.Take(Kept, 60), "promised": third.Admit(Least{Kept: 60})} {
		limit := limitOf(t, err)
		after, busy := limit.Overloaded()
		if !busy || after != 3*time.Second || limit.LimitExceeded() || limit.Limit != "TotalBytes" || !strings.Contains(err.Error(), "try again in 3s") {
			t.Errorf("%s: %v", name, err)
		}
	}
	first.Close()
	if err := b.Open().Take(Kept, 60); err != nil {
		t.Errorf("after the other has ended: %v", err)
	}
}

// A read that was refused once is not let on by what it gives back.
func TestRefusalIsFinal(t *testing.T) {
	c := newBudget(t, BudgetOptions{QueryBytes: 100}).Open()
	if err := c.Take(ChunksInFlight, 90); err != nil {
		t.Fatal(err)
	}
	first := c.Take(ChunksInFlight, 20)
	c.Give(ChunksInFlight, 90)
	for name, err := range map[string]error{
		"take": c.Take(ChunksInFlight, 1), "admit": c.Admit(Least{}), "blocks": c.Blocks(1),
	} {
		if !errors.Is(err, first) {
			t.Errorf("%s: %v, want %v", name, err, first)
		}
	}
}

func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		opts         BudgetOptions
		query, total int64 // that fit just so, 0 for no limit
	}{
		{BudgetOptions{}, 512 << 20, 2 << 30},
		{BudgetOptions{QueryBytes: 3 << 30}, 3 << 30, 3 << 30},
		{BudgetOptions{TotalBytes: 100}, 100, 100},
		{BudgetOptions{QueryBytes: -1, TotalBytes: -1}, 0, 0},
	} {
		b := newBudget(t, c.opts)
		if c.query == 0 {
			if err := b.Open().Take(Kept, 1<<50); err != nil {
				t.Errorf("%+v: %v", c.opts, err)
			}
			continue
		}
		if err := b.Open().Take(Kept, c.query); err != nil {
			t.Errorf("%+v: %v", c.opts, err)
		}
		if err := newBudget(t, c.opts).Open().Take(Kept, c.query+1); err == nil {
			t.Errorf("%+v: a query took more than %d", c.opts, c.query)
		}
		if got := b.opts.TotalBytes; got != c.total {
			t.Errorf("%+v: %d in total, want %d", c.opts, got, c.total)
		}
	}
	if _, err := NewBudget(BudgetOptions{QueryBytes: 2, TotalBytes: 1, RetryAfter: -1}); err == nil ||
		!strings.Contains(err.Error(), "QueryBytes") || !strings.Contains(err.Error(), "RetryAfter") {
		t.Errorf("got %v", err)
	}
	reg := prometheus.NewRegistry()
	newBudget(t, BudgetOptions{Registerer: reg})
	if _, err := NewBudget(BudgetOptions{Registerer: reg}); err == nil {
		t.Error("two budgets share a registry")
	}
}

// Nothing needs an account.
func TestNilCost(t *testing.T) {
	var c *Cost
	c.Requests(Header, 1)
	c.Bytes(Header, 1)
	c.Hits(Header, 1, 1)
	c.Considered(1)
	c.Skipped(SkippedTime, 1)
	c.Read(1, 1)
	c.Took(Decode, 1)
	c.Keep()
	c.Give(Kept, 1)
	c.End()
	c.Close()
	hoard := Hoard{}
	if err := errors.Join(c.Take(Kept, 1), c.Admit(Least{}), c.Fetch(1), c.Blocks(1), c.Returned(1, 1, 1), c.Begin(t.Context()), hoard.Keep(1), (*Charge)(nil).Take(1)); err != nil {
		t.Error(err)
	}
	if c.Keeps() || c.Touched() || c.Report().Requests() != 0 {
		t.Error("no account has something in it")
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	c := newBudget(t, BudgetOptions{QueryFetch: 1 << 40}).Open()
	hoard := Hoard{Cost: c}
	if n := testing.AllocsPerRun(100, func() {
		c.Requests(Chunks, 1)
		c.Bytes(Chunks, 10)
		c.Took(Decode, 1)
		hold := Charge{Cost: c, Use: ChunksInFlight}
		err := errors.Join(c.Fetch(10), hold.Take(10), hoard.Keep(100), c.Returned(1, 2, 240), c.Begin(t.Context()))
		c.End()
		hold.Free()
		if err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestReportAndPrice(t *testing.T) {
	c := newBudget(t, BudgetOptions{}).Open()
	c.Considered(10)
	c.Skipped(SkippedTime, 3)
	c.Skipped(SkippedLabels, 2)
	for range 500 {
		c.Requests(Chunks, 1)
	}
	c.Bytes(Chunks, 2e9)
	c.Hits(Postings, 1, 7)
	c.Took(FetchChunks, 1500*time.Millisecond)
	r := Prices{ThousandRequests: 0.4, Gigabyte: 0.1}.Of(c.Report())
	if r.BlocksRead() != 5 || r.Requests() != 500 || r.Bytes() != 2e9 || r.Fetched["postings"] != (Fetched{CacheHits: 1, CacheBytes: 7}) || r.Seconds["chunks"] != 1.5 {
		t.Errorf("%+v", r)
	}
	if r.Price == nil || *r.Price < 0.399 || *r.Price > 0.401 || r.Currency != "USD" {
		t.Errorf("price %v %s, want 0.4 USD", r.Price, r.Currency)
	}
	if (Prices{}).Of(c.Report()).Price != nil {
		t.Error("a price without a price list")
	}
	if (Prices{ThousandRequests: -1}).Validate() == nil {
		t.Error("a negative price passes")
	}
}

// What fits is not refused because something larger is at the same moment.
func TestRefusalsTakeNothingFromOthers(t *testing.T) {
	b := newBudget(t, BudgetOptions{QueryBytes: 1000, TotalBytes: 1000})
	resident := b.Open()
	defer resident.Close()
	if err := resident.Take(ChunksInFlight, 500); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var others sync.WaitGroup
	defer others.Wait()
	defer close(done)
	for range 2 {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if b.take(900) {
					t.Error("900 bytes were granted beside 500 of 1000")
				}
			}
		})
	}
	small := b.Open()
	defer small.Close()
	for range 100_000 {
		if err := small.Take(ChunksInFlight, 100); err != nil {
			t.Fatalf("100 bytes beside 500 of 1000: %v", err)
		}
		small.Give(ChunksInFlight, 100)
	}
}
