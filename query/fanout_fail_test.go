package query

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/query/querytest"
)

func sources[T storage.ChunkQueryable](list ...T) []storage.ChunkQueryable {
	var all []storage.ChunkQueryable
	for _, s := range list {
		all = append(all, s)
	}
	return all
}

// listing is a source that only tells its streams.
type listing []stream

func (l listing) ChunkQuerier(int64, int64) (storage.ChunkQuerier, error) {
	return nil, errors.New("not to be asked")
}

func (l listing) Streams(yield func(labels.Labels, int64, int64) bool) {
	for _, s := range l {
		if !yield(s.external, s.mint, s.maxt) {
			return
		}
	}
}

// faulty is a model with streams and a name that misbehaves as it is told.
type faulty struct {
	*querytest.Model
	name      string
	opens     atomic.Int32
	closes    atomic.Int32
	openErr   error
	selectErr error                 // at once
	after     int                   // with midErr or stall, after so many series
	midErr    error                 // on the way
	chunkErr  error                 // of each series' chunks
	panics    bool                  // in Select
	stall     <-chan struct{}       // until this is closed
	deaf      bool                  // stall takes no note of the context
	warn      error                 // a warning besides
	rendez    func(context.Context) // called in Select
}

func (f *faulty) String() string { return f.name }

func (f *faulty) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	f.opens.Add(1)
	if f.openErr != nil {
		return nil, f.openErr
	}
	q, err := f.Model.ChunkQuerier(mint, maxt)
	return &faultyQuerier{q, f}, err
}

func (f *faulty) ExemplarQuerier(context.Context) (storage.ExemplarQuerier, error) {
	if f.selectErr != nil {
		return nil, f.selectErr
	}
	return f.Model.ExemplarQuerier(context.Background())
}

func (f *faulty) MetricMetadata(ctx context.Context, metric string, limit int) (map[string][]metadata.Metadata, error) {
	if f.selectErr != nil {
		return nil, f.selectErr
	}
	return f.Model.MetricMetadata(ctx, metric, limit)
}

type faultyQuerier struct {
	storage.ChunkQuerier
	f *faulty
}

func (q *faultyQuerier) Close() error { q.f.closes.Add(1); return q.ChunkQuerier.Close() }

func (q *faultyQuerier) wait(ctx context.Context) error {
	if q.f.stall == nil {
		return nil
	}
	if q.f.deaf {
		<-q.f.stall
		return nil
	}
	select {
	case <-q.f.stall:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *faultyQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	if q.f.rendez != nil {
		q.f.rendez(ctx)
	}
	if q.f.panics {
		panic("boom")
	}
	if q.f.selectErr != nil {
		return storage.ErrChunkSeriesSet(q.f.selectErr)
	}
	return &faultySet{ChunkSeriesSet: q.ChunkQuerier.Select(ctx, sorted, hints, ms...), q: q, ctx: ctx}
}

func (q *faultyQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	if q.f.selectErr != nil {
		return nil, nil, q.f.selectErr
	}
	if err := q.wait(ctx); err != nil {
		return nil, nil, err
	}
	list, ws, err := q.ChunkQuerier.LabelNames(ctx, hints, ms...)
	if q.f.warn != nil {
		ws.Add(q.f.warn)
	}
	return list, ws, err
}

type faultySet struct {
	storage.ChunkSeriesSet
	q     *faultyQuerier
	ctx   context.Context
	count int
	err   error
}

func (s *faultySet) Next() bool {
	if s.err != nil {
		return false
	}
	if s.count++; s.count > s.q.f.after {
		if s.err = s.q.wait(s.ctx); s.err == nil {
			s.err = s.q.f.midErr
		}
	}
	return s.err == nil && s.ChunkSeriesSet.Next()
}

func (s *faultySet) At() storage.ChunkSeries {
	series := s.ChunkSeriesSet.At()
	if s.q.f.chunkErr == nil {
		return series
	}
	return &storage.ChunkSeriesEntry{Lset: series.Labels(), ChunkIteratorFn: func(chunks.Iterator) chunks.Iterator {
		return &failingChunks{storage.NewListChunkSeriesIterator(), s.q.f.chunkErr}
	}}
}

func (s *faultySet) Err() error {
	if s.err != nil {
		return s.err
	}
	return s.ChunkSeriesSet.Err()
}

func (s *faultySet) Warnings() annotations.Annotations {
	ws := s.ChunkSeriesSet.Warnings()
	if s.q.f.warn != nil {
		ws.Add(s.q.f.warn)
	}
	return ws
}

// pair returns a Fanout of a good source, of cluster eu, and a faulty one, of
// cluster us.
func pair(t testing.TB, bad *faulty, opts FanoutOptions) *Fanout {
	part := func(cluster string) *querytest.Model {
		return querytest.NewModel(querytest.Many(1, querytest.DefaultExternal()...).Only(func(ext labels.Labels) bool {
			return ext.Get("cluster") == cluster
		}))
	}
	good := &faulty{Model: part("eu"), name: "good"}
	bad.Model, bad.name = part("us"), "bad"
	t.Cleanup(func() {
		for _, f := range []*faulty{good, bad} {
			if o, c := f.opens.Load(), f.closes.Load(); o != c && f.openErr == nil {
				t.Errorf("source %s: %d queriers opened, %d closed", f.name, o, c)
			}
		}
	})
	return NewFanout(sources(good, bad), opts)
}

// answerOf counts the series of each cluster that a read of everything gets.
func answerOf(ctx context.Context, t testing.TB, f *Fanout, selector string) (found map[string]int, warnings annotations.Annotations, err error) {
	t.Helper()
	q, err := Samples(f).Querier(querytest.Start, querytest.End)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(ctx, true, nil, matchersOf(t, selector)...)
	found = map[string]int{}
	for set.Next() {
		found[set.At().Labels().Get("cluster")]++
	}
	return found, set.Warnings(), set.Err()
}

var errGone = errors.New("gone")

// TestFanoutFailures: a source that fails in whatever way fails a strict read,
// which says who it was, and is a warning of a partial one, which says what is
// missing and has all of the rest.
func TestFanoutFailures(t *testing.T) {
	for name, bad := range map[string]func() *faulty{
		"open":      func() *faulty { return &faulty{openErr: errGone} },
		"select":    func() *faulty { return &faulty{selectErr: errGone} },
		"on first":  func() *faulty { return &faulty{midErr: errGone} },
		"midway":    func() *faulty { return &faulty{midErr: errGone, after: 20} },
		"chunks":    func() *faulty { return &faulty{chunkErr: errGone} },
		"panicking": func() *faulty { return &faulty{panics: true} },
	} {
		t.Run(name, func(t *testing.T) {
			why := func(err error) bool {
				return errors.Is(err, errGone) || name == "panicking" && strings.Contains(err.Error(), "panic: boom")
			}
			_, _, err := answerOf(t.Context(), t, pair(t, bad(), FanoutOptions{}), `{__name__=~".+"}`)
			if se, ok := errors.AsType[*SourceError](err); !ok || !why(err) || se.Source != "bad" {
				t.Errorf("strict: %v", err)
			}

			ctx := WithReadOptions(t.Context(), ReadOptions{Partial: true})
			found, warnings, err := answerOf(ctx, t, pair(t, bad(), FanoutOptions{}), `{__name__=~".+"}`)
			if err != nil || found["eu"] < 100 {
				t.Errorf("partial: %v, %v", found, err)
			}
			if len(warnings) != 1 {
				t.Fatalf("warnings %v", warnings)
			}
			se, ok := errors.AsType[*SourceError](warnings.AsErrors()[0])
			if !ok || !why(se) || se.Source != "bad" || len(se.Missing) != 1 || se.Missing[0].External.Get("cluster") != "us" {
				t.Errorf("warning %v", warnings)
			}
			if from := se.Missing[0].From; from.Before(time.UnixMilli(querytest.Start)) || se.Missing[0].To.Before(from) {
				t.Errorf("missing %v", se.Missing)
			}

			// Who does not ask for what the bad source has never notices.
			for _, ctx := range []context.Context{t.Context(), ctx} {
				f := pair(t, bad(), FanoutOptions{})
				if found, ws, err := answerOf(ctx, t, f, `{cluster="eu"}`); err != nil || len(ws) > 0 || found["eu"] < 100 {
					t.Errorf("without the bad one: %v, %v, %v", found, ws, err)
				}
				if n := f.Sources()[1].(*faulty).opens.Load(); n != 0 {
					t.Errorf("the source that could not match was asked %d times", n)
				}
			}
		})
	}
}

func TestFanoutLabelFailures(t *testing.T) {
	partial := WithReadOptions(t.Context(), ReadOptions{Partial: true})
	for _, bad := range []*faulty{{openErr: errGone}, {selectErr: errGone}} {
		q, _ := pair(t, bad, FanoutOptions{}).ChunkQuerier(querytest.Start, querytest.End)
		_, _, err := q.LabelNames(t.Context(), nil)
		if se, ok := errors.AsType[*SourceError](err); !ok || se.Source != "bad" || !errors.Is(err, errGone) {
			t.Errorf("strict: %v", err)
		}
		names, ws, err := q.LabelNames(partial, nil)
		if err != nil || len(names) == 0 || len(ws) != 1 || !errors.Is(ws.AsErrors()[0], errGone) {
			t.Errorf("partial: %q, %v, %v", names, ws, err)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFanoutExemplarAndMetadataFailures(t *testing.T) {
	f := pair(t, &faulty{selectErr: errGone}, FanoutOptions{})
	good := f.Sources()[0].(*faulty)
	ext := labels.FromStrings("cluster", "eu", "replica", "1")
	good.SetMetadata(ext, "up", metadata.Metadata{Type: "gauge"})
	good.AppendExemplar(ext, labels.FromStrings("__name__", "up"), exemplar.Exemplar{Ts: 5, HasTs: true})
	for _, partial := range []bool{false, true} {
		ctx := WithReadOptions(t.Context(), ReadOptions{Partial: partial})
		found, err := f.MetricMetadata(ctx, "", 0)
		if !errors.Is(err, errGone) || (len(found) == 1) != partial {
			t.Errorf("partial %v: metadata %v, %v", partial, found, err)
		}
		q, err := f.ExemplarQuerier(ctx)
		if err != nil {
			t.Fatal(err)
		}
		exemplars, err := q.Select(0, 10, matchersOf(t, "up"))
		if (len(exemplars) == 1) != partial || errors.Is(err, errGone) == partial {
			t.Errorf("partial %v: exemplars %v, %v", partial, exemplars, err)
		}
		if ws := q.(*fanoutExemplars).Warnings(); (len(ws) == 1) != partial {
			t.Errorf("partial %v: warnings %v", partial, ws)
		}
	}
}

// TestFanoutSideBySide: every source is asked before any has answered, and
// Select does not wait for them.
func TestFanoutSideBySide(t *testing.T) {
	var all sync.WaitGroup
	all.Add(4)
	meet := func(context.Context) { all.Done(); all.Wait() }
	f := pair(t, &faulty{rendez: meet}, FanoutOptions{})
	f.Sources()[0].(*faulty).rendez = meet
	q, _ := f.ChunkQuerier(querytest.Start, querytest.End)
	defer q.Close()
	one := q.Select(t.Context(), true, nil, matchersOf(t, `{__name__=~".+"}`)...)
	two := q.Select(t.Context(), true, nil, matchersOf(t, `{__name__=~"u.+"}`)...)
	for _, set := range []storage.ChunkSeriesSet{two, one} {
		if !set.Next() || set.Err() != nil {
			t.Error(set.Err())
		}
	}
}

func TestFanoutKeepsWarnings(t *testing.T) {
	f := pair(t, &faulty{warn: errors.New("block 1 unreadable")}, FanoutOptions{})
	if _, ws, err := answerOf(t.Context(), t, f, `{__name__=~".+"}`); err != nil || len(ws) != 1 {
		t.Errorf("select: %v, %v", ws, err)
	}
	q, _ := f.ChunkQuerier(querytest.Start, querytest.End)
	if _, ws, err := q.LabelNames(t.Context(), nil); err != nil || len(ws) != 1 {
		t.Errorf("labels: %v, %v", ws, err)
	}
	q.Close()
}

func TestFanoutSwapsSources(t *testing.T) {
	f := pair(t, &faulty{selectErr: errGone}, FanoutOptions{})
	before, _ := f.ChunkQuerier(querytest.Start, querytest.End)
	f.SetSources(f.Sources()[:1])
	if _, _, err := before.LabelNames(t.Context(), nil); !errors.Is(err, errGone) {
		t.Errorf("an open querier lost a source: %v", err)
	}
	before.Close()
	if found, _, err := answerOf(t.Context(), t, f, `{__name__=~".+"}`); err != nil || found["eu"] == 0 {
		t.Errorf("%v, %v", found, err)
	}
	f.SetSources(nil)
	if found, _, err := answerOf(t.Context(), t, f, `{__name__=~".+"}`); err != nil || len(found) != 0 {
		t.Errorf("no source: %v, %v", found, err)
	}
}

func TestFanoutLogsPanics(t *testing.T) {
	var text strings.Builder
	f := pair(t, &faulty{panics: true}, FanoutOptions{Logger: slog.New(slog.NewTextHandler(&text, nil))})
	if _, _, err := answerOf(t.Context(), t, f, `{__name__=~".+"}`); err == nil {
		t.Error("no error")
	}
	if !strings.Contains(text.String(), "boom") || !strings.Contains(text.String(), "faultyQuerier") {
		t.Errorf("log: %s", text.String())
	}
}
