package query

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/query/querytest"
)

// TestFanoutRequestEnds: a request that was canceled or ran out of time is no
// partial answer.
func TestFanoutRequestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []int{0, 10} {
			ctx, cancel := context.WithTimeout(WithReadOptions(t.Context(), ReadOptions{Partial: true}), time.Second)
			f := pair(t, &faulty{stall: make(chan struct{}), after: after}, FanoutOptions{})
			_, _, err := answerOf(ctx, t, f, `{__name__=~".+"}`)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "bad") {
				t.Errorf("after %d: %v", after, err)
			}
			cancel()
			synctest.Wait() // for the call that was given up
		}
	})
}

// TestFanoutSourceTimeout: a source that stalls, at first or on the way, holds up
// nobody for longer than its timeout; at first also one that ignores its context.
func TestFanoutSourceTimeout(t *testing.T) {
	for name, bad := range map[string]*faulty{
		"at first":       {},
		"on the way":     {after: 10},
		"deaf, at first": {deaf: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stall := make(chan struct{})
				bad.stall = stall
				f := pair(t, bad, FanoutOptions{SourceTimeout: time.Second})
				began := time.Now()
				_, _, err := answerOf(t.Context(), t, f, `{__name__=~".+"}`)
				if se, ok := errors.AsType[*SourceError](err); !ok || se.Source != "bad" || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("strict: %v", err)
				}
				ctx := WithReadOptions(t.Context(), ReadOptions{Partial: true})
				found, ws, err := answerOf(ctx, t, f, `{__name__=~".+"}`)
				if err != nil || found["eu"] < 100 || len(ws) != 1 || !strings.Contains(ws.AsErrors()[0].Error(), "no answer within 1s") {
					t.Errorf("partial: %v, %v, %v", found, ws, err)
				}
				q, _ := f.ChunkQuerier(querytest.Start, querytest.End)
				names, ws, err := q.LabelNames(ctx, nil)
				if err != nil || len(names) == 0 || len(ws) != 1 {
					t.Errorf("labels: %q, %v, %v", names, ws, err)
				}
				if err := q.Close(); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != 3*time.Second {
					t.Errorf("three reads took %s", took)
				}
				close(stall) // so that calls that were given up end, and close what they opened
				synctest.Wait()
			})
		})
	}
}

// TestFanoutReaderMayBeSlow: the timeout is for sources, not for who reads.
func TestFanoutReaderMayBeSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := pair(t, &faulty{}, FanoutOptions{SourceTimeout: time.Second})
		q, _ := f.ChunkQuerier(querytest.Start, querytest.End)
		set := q.Select(t.Context(), true, nil, matchersOf(t, `{__name__=~".+"}`)...)
		n := 0
		for ; set.Next(); n++ {
			time.Sleep(10 * time.Second)
		}
		if set.Err() != nil || n < 200 {
			t.Errorf("%d series, %v", n, set.Err())
		}
		q.Close()
	})
}

// TestFanoutClosedEarly: a querier may be closed while its sources still work.
func TestFanoutClosedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := pair(t, &faulty{stall: make(chan struct{})}, FanoutOptions{})
		q, _ := f.ChunkQuerier(querytest.Start, querytest.End)
		q.Select(t.Context(), true, nil, matchersOf(t, `{__name__=~".+"}`)...)
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
}

// slowToOpen stalls before there is a querier, and so a context, to end.
type slowToOpen struct {
	storage.ChunkQueryable
	opened chan struct{}
}

func (s slowToOpen) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	<-s.opened
	return s.ChunkQueryable.ChunkQuerier(mint, maxt)
}

func TestFanoutSourceThatDoesNotOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := slowToOpen{querytest.NewModel(querytest.Kinds()), make(chan struct{})}
		f := NewFanout([]storage.ChunkQueryable{slow}, FanoutOptions{SourceTimeout: time.Second})
		for name, ask := range map[string]func(storage.ChunkQuerier) error{
			"Select": func(q storage.ChunkQuerier) error {
				set := q.Select(t.Context(), true, nil)
				for set.Next() {
				}
				return set.Err()
			},
			"LabelNames": func(q storage.ChunkQuerier) error {
				_, _, err := q.LabelNames(t.Context(), nil)
				return err
			},
		} {
			q, err := f.ChunkQuerier(querytest.Start, querytest.End)
			if err != nil {
				t.Fatal(err)
			}
			// Waiting for ever would be a deadlock of the bubble.
			if err := ask(q); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
			if err := q.Close(); err != nil {
				t.Error(err)
			}
		}
		close(slow.opened) // for the calls that were given up
		synctest.Wait()
	})
}

// A limit counts series, not their parts in several sources.
func TestFanoutLimitWithoutLabels(t *testing.T) {
	data := querytest.Data{Streams: []querytest.Stream{{External: labels.FromStrings("replica", "1")}}}
	for _, i := range []string{"1", "2", "3"} {
		data.Streams[0].Series = append(data.Streams[0].Series, querytest.Series{
			Labels: labels.FromStrings("i", i), Samples: []querytest.Sample{{T: querytest.Start}},
		})
	}
	f := NewFanout([]storage.ChunkQueryable{querytest.NewModel(data), querytest.NewModel(data)}, FanoutOptions{})
	q, err := f.ChunkQuerierWithout(querytest.Start, querytest.End, []string{"replica"})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	hints := &storage.SelectHints{Start: querytest.Start, End: querytest.End, Limit: 2}
	var found []string
	for set := q.Select(t.Context(), true, hints); set.Next(); {
		found = append(found, set.At().Labels().Get("i"))
	}
	if got := strings.Join(slices.Compact(found), " "); got != "1 2" {
		t.Errorf("a limit of 2 gives %s", got)
	}
}

// A source that ignores its context holds up Close no longer than the read: not
// after another has failed it, and not beyond its end. What it opened is closed when
// it returns.
func TestFanoutCloseDoesNotWaitForADeafSource(t *testing.T) {
	failing := errors.New("failing")
	read := func(ctx context.Context, q storage.ChunkQuerier) error {
		set := q.Select(ctx, true, nil, matchersOf(t, `{__name__=~".+"}`)...)
		for set.Next() {
		}
		return set.Err()
	}
	names := func(ctx context.Context, q storage.ChunkQuerier) error {
		_, _, err := q.LabelNames(ctx, nil)
		return err
	}
	leave := func(ctx context.Context, q storage.ChunkQuerier) error {
		q.Select(ctx, true, nil, matchersOf(t, `{__name__=~".+"}`)...)
		return nil
	}
	for name, c := range map[string]struct {
		first   error // of the other source
		timeout time.Duration
		opts    FanoutOptions
		ask     func(context.Context, storage.ChunkQuerier) error
		want    error
		takes   time.Duration
	}{
		"another fails a Select":      {first: failing, ask: read, want: failing},
		"another fails a LabelNames":  {first: failing, ask: names, want: failing},
		"the request ends":            {timeout: time.Second, ask: read, want: context.DeadlineExceeded, takes: time.Second},
		"the request ends in Close":   {timeout: time.Second, ask: leave, takes: time.Second},
		"the source's time is up":     {opts: FanoutOptions{SourceTimeout: time.Second}, ask: read, want: context.DeadlineExceeded, takes: time.Second},
		"its time is up in Close":     {opts: FanoutOptions{SourceTimeout: time.Second}, ask: leave, takes: time.Second},
		"its time is up, for another": {first: failing, opts: FanoutOptions{SourceTimeout: time.Second}, ask: names, want: failing},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stall := make(chan struct{})
				other := &faulty{Model: querytest.NewModel(querytest.Kinds(querytest.DefaultExternal()...)), name: "other", selectErr: c.first}
				deaf := &faulty{Model: querytest.NewModel(querytest.Kinds(querytest.DefaultExternal()...)), name: "deaf", stall: stall, deaf: true}
				f := NewFanout(sources(other, deaf), c.opts)
				ctx := t.Context()
				if c.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.timeout)
					defer cancel()
				}
				q, err := f.ChunkQuerier(querytest.Start, querytest.End)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				if err := c.ask(ctx, q); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				// To wait for ever would be a deadlock of the bubble.
				if err := q.Close(); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != c.takes {
					t.Errorf("it took %s, want %s", took, c.takes)
				}
				if other.closes.Load() != 1 || deaf.closes.Load() != 0 {
					t.Errorf("the other was closed %d times, the deaf one %d times", other.closes.Load(), deaf.closes.Load())
				}
				close(stall)
				synctest.Wait()
				if n := deaf.closes.Load(); n != 1 {
					t.Errorf("the deaf one was closed %d times", n)
				}
			})
		})
	}
}

// What a source has said of its own stays what it is, although another takes so long
// that the time of all is up.
func TestFanoutTimeoutOfAnotherSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := &LimitError{Limit: "QuerySeries", Value: 1, Asked: 2, Unit: "series"}
		hanging := &faulty{Model: querytest.NewModel(querytest.Kinds(querytest.DefaultExternal()...)), name: "hanging", stall: make(chan struct{})}
		for _, says := range []error{limit, errors.New("block 1 is broken")} {
			failing := &faulty{Model: querytest.NewModel(querytest.Kinds(querytest.DefaultExternal()...)), name: "failing", selectErr: says}
			f := NewFanout(sources(hanging, failing), FanoutOptions{SourceTimeout: time.Second})
			q, err := f.ChunkQuerier(querytest.Start, querytest.End)
			if err != nil {
				t.Fatal(err)
			}
			_, ws, err := q.LabelNames(WithReadOptions(t.Context(), ReadOptions{Partial: true}), nil)
			all := append(ws.AsErrors(), err)
			if !slices.ContainsFunc(all, func(err error) bool { return errors.Is(err, says) && !strings.Contains(err.Error(), "no answer") }) {
				t.Errorf("%v has become %v", says, all)
			}
			if isRefusal(says) != (err != nil) {
				t.Errorf("%v fails the read with %v", says, err)
			}
			if err := q.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
