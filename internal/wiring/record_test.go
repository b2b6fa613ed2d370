package wiring

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/query"
)

// sample is what one Append was called with.
type sample struct {
	labels labels.Labels
	st, t  int64
	v      float64
	h      *histogram.Histogram
	fh     *histogram.FloatHistogram
	opts   storage.AppendV2Options
}

// batch is what one Commit stored.
type batch []sample

// appendTo stores the batch for good.
func (b batch) appendTo(app storage.AppenderV2) error {
	for _, s := range b {
		if _, err := app.Append(0, s.labels, s.st, s.t, s.v, s.h, s.fh, s.opts); err != nil {
			return errors.Join(err, app.Rollback())
		}
	}
	return app.Commit()
}

// recorded is a storage.Storage that keeps what is appended to it, and answers
// queries from whatever its wiring makes of that.
type recorded struct {
	t       testing.TB
	wire    wiring
	batches []batch

	current storage.ChunkQueryable // nil after an append
	close   func()
}

func (r *recorded) AppenderV2(context.Context) storage.AppenderV2 { return &recorder{to: r} }

// Appender is there because storage.Storage asks for it. Nothing calls it.
func (*recorded) Appender(context.Context) storage.Appender { return nil }

func (r *recorded) wired() storage.ChunkQueryable {
	if r.current == nil {
		r.release()
		source, release := r.wire(r.t, map[string][]batch{"scripts": r.batches})
		r.current, r.close = dedup.New(source, dedup.Options{ReplicaLabels: externalNames}), release
	}
	return r.current
}

func (r *recorded) release() {
	if r.close != nil {
		r.close()
		r.close = nil
	}
}

func (r *recorded) Querier(mint, maxt int64) (storage.Querier, error) {
	return query.Samples(r.wired()).Querier(mint, maxt)
}

func (r *recorded) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return r.wired().ChunkQuerier(mint, maxt)
}

func (r *recorded) StartTime() (int64, error) { return 0, nil }

func (r *recorded) Close() error {
	r.release()
	r.current = nil
	return nil
}

type recorder struct {
	to      *recorded
	pending batch
}

func (a *recorder) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AppendV2Options) (storage.SeriesRef, error) {
	if h != nil {
		h = h.Copy()
	}
	if fh != nil {
		fh = fh.Copy()
	}
	opts.Exemplars = append([]exemplar.Exemplar(nil), opts.Exemplars...)
	a.pending = append(a.pending, sample{labels: ls.Copy(), st: st, t: t, v: v, h: h, fh: fh, opts: opts})
	return 1, nil
}

func (a *recorder) Commit() error {
	a.to.batches = append(slices.Clip(a.to.batches), a.pending)
	a.to.current = nil
	return nil
}

func (a *recorder) Rollback() error { return nil }
