package query

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/query/querytest"
)

// TestPromQLScripts runs all of Prometheus' own scripts, with our engine, over a
// Fanout of two sources that have every other sample each and some in common.
func TestPromQLScripts(t *testing.T) {
	engine, err := NewEngine(EngineOptions{
		Timeout:            100 * time.Second,
		MaxSamples:         promqltest.DefaultMaxSamplesPerQuery,
		Parser:             promqltest.TestParserOpts,
		DelayedNameRemoval: true,
		StartTimestamps:    true,
	})
	if err != nil {
		t.Fatal(err)
	}
	promqltest.RunBuiltinTestsWithStorage(t, engine, func(testing.TB) storage.Storage {
		return newScriptStorage()
	})
}

// scriptStorage is what a script loads into and asks.
type scriptStorage struct {
	storage.Queryable
	storage.ChunkQueryable
	models [2]*querytest.Model
	count  int
}

func newScriptStorage() *scriptStorage {
	s := &scriptStorage{}
	for i := range s.models {
		s.models[i] = querytest.NewModel(querytest.Data{})
	}
	f := NewFanout([]storage.ChunkQueryable{s.models[0], s.models[1]}, FanoutOptions{})
	s.ChunkQueryable, s.Queryable = f, Samples(f)
	return s
}

func (s *scriptStorage) AppenderV2(context.Context) storage.AppenderV2 { return scriptAppender{s} }
func (*scriptStorage) StartTime() (int64, error)                       { return 0, nil }
func (*scriptStorage) Close() error                                    { return nil }
func (*scriptStorage) Appender(context.Context) storage.Appender       { return nil }

type scriptAppender struct{ s *scriptStorage }

func (scriptAppender) Commit() error   { return nil }
func (scriptAppender) Rollback() error { return nil }

func (a scriptAppender) Append(_ storage.SeriesRef, lset labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, _ storage.AppendV2Options) (storage.SeriesRef, error) {
	sample := querytest.Sample{T: t, ST: st, Float: v, Histogram: h, FloatHistogram: fh}.Copy()
	a.s.count++
	var err error
	for i, m := range a.s.models {
		// Histograms stay together: apart, their counter reset hints are lost.
		if together := h != nil || fh != nil; together && i == 1 || !together && a.s.count%3 == 1+i {
			continue
		}
		err = errors.Join(err, m.Append(labels.EmptyLabels(), lset, sample))
	}
	return 1, err
}
