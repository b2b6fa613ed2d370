package querytest

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"pgregory.net/rapid"
)

// broken is a Model with one thing wrong, which the suite must find.
type broken struct {
	*Model
	widen   bool                          // lets hints widen the range
	choose  func([]answer) []answer       // changes the series of an answer
	chunks  func(chunks.Meta) chunks.Meta // changes each chunk
	strings func([]string) []string       // changes label names and values
	once    bool                          // series can be iterated once
	shorten bool                          // loses the last chunk
}

func (b *broken) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	q, err := b.Model.ChunkQuerier(mint, maxt)
	return &brokenQuerier{q, b}, err
}

type brokenQuerier struct {
	storage.ChunkQuerier
	b *broken
}

func (q *brokenQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	from := q.ChunkQuerier
	if q.b.widen && hints != nil {
		from, _ = q.b.Model.ChunkQuerier(hints.Start, hints.End)
	}
	all, err := drain(from.Select(ctx, sorted, hints, ms...))
	if err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	if q.b.choose != nil {
		all = q.b.choose(all)
	}
	set := &modelSet{at: -1}
	for _, a := range all {
		metas, _ := storage.ExpandChunks(a.series.Iterator(nil))
		if q.b.chunks != nil {
			for i := range metas {
				metas[i] = q.b.chunks(metas[i])
			}
		}
		if q.b.shorten && len(metas) > 1 {
			metas = metas[:len(metas)-1]
		}
		set.series = append(set.series, found{labels: a.labels, chunks: metas})
	}
	if q.b.once {
		return &onceSet{set}
	}
	return set
}

func (q *brokenQuerier) LabelNames(ctx context.Context, h *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	list, ws, err := q.ChunkQuerier.LabelNames(ctx, h, ms...)
	if q.b.strings != nil {
		list = q.b.strings(list)
	}
	return list, ws, err
}

// onceSet gives series that share one iterator.
type onceSet struct{ *modelSet }

func (s *onceSet) At() storage.ChunkSeries {
	series := s.modelSet.At()
	it := series.Iterator(nil)
	return &storage.ChunkSeriesEntry{Lset: series.Labels(), ChunkIteratorFn: func(chunks.Iterator) chunks.Iterator { return it }}
}

func TestSuiteFindsFaults(t *testing.T) {
	data := Kinds(DefaultExternal()...)
	for name, b := range map[string]*broken{
		"hints widen":      {widen: true},
		"unsorted":         {choose: func(all []answer) []answer { slices.Reverse(all); return all }},
		"series lost":      {choose: func(all []answer) []answer { return all[:max(0, len(all)-1)] }},
		"series twice":     {choose: func(all []answer) []answer { return append(all, all[max(0, len(all)-1):]...) }},
		"chunk lost":       {shorten: true},
		"iterated once":    {once: true},
		"chunk bounds":     {chunks: func(c chunks.Meta) chunks.Meta { c.MaxTime--; return c }},
		"chunk far away":   {chunks: func(c chunks.Meta) chunks.Meta { c.MinTime, c.MaxTime = 0, 1; return c }},
		"names twice":      {strings: func(l []string) []string { return append(l, l...) }},
		"names lost":       {strings: func(l []string) []string { return l[:max(0, len(l)-1)] }},
		"names unexpected": {strings: func(l []string) []string { return append(l, "zzz") }},
	} {
		t.Run(name, func(t *testing.T) {
			b.Model = NewModel(data)
			if err := askEverything(data, b); err == nil {
				t.Error("not found")
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		if err := askEverything(data, &broken{Model: NewModel(data)}); err != nil {
			t.Error(err)
		}
	})
}

func TestSuiteFindsChangedSamples(t *testing.T) {
	data := Kinds(DefaultExternal()...)
	for name, change := range map[string]func(*Sample){
		"time":  func(s *Sample) { s.T++ },
		"value": func(s *Sample) { s.Float = math.Nextafter(s.Float, 2) },
	} {
		t.Run(name, func(t *testing.T) {
			changed := Kinds(DefaultExternal()...)
			list := changed.Streams[1].Series[1].Samples
			change(&list[len(list)/2])
			if err := askEverything(data, NewModel(changed)); err == nil {
				t.Error("not found")
			}
		})
	}
}

// askEverything runs the questions of the suite outside of a test.
func askEverything(data Data, backend storage.ChunkQueryable) error {
	s := &suite{opts: Options{External: DefaultExternal()}, data: data, model: NewModel(data), backend: backend}
	s.prepare()
	for _, q := range s.namedQuestions() {
		if err := s.ask(q, true); err != nil {
			return err
		}
	}
	for _, ask := range []func(*rapid.T) error{s.labelNames, s.selects} {
		drawn := rapid.Custom(ask)
		for seed := range 40 {
			if err := drawn.Example(seed); err != nil {
				return err
			}
		}
	}
	return nil
}
