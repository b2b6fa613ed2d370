package storeapi

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"google.golang.org/grpc"

	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// series is the method Series.
func (s *Server) series(body []byte, stream grpc.ServerStream) error {
	req, err := decodeSeriesRequest(body)
	if err == nil && len(req.matchers) == 0 {
		err = errors.New("there are no matchers; to get everything say so by one, such as {__name__=~\".+\"}")
	}
	if err == nil && req.shard.total > 0 && (req.shard.index < 0 || req.shard.index >= req.shard.total) {
		err = errors.New("the index of the shard is not below the number of shards")
	}
	if err != nil {
		return &requestError{err}
	}
	turn, err := s.enter(stream.Context())
	if err != nil {
		return err
	}
	defer turn.end()
	ctx, closed := s.account(reading(stream.Context(), req.strict, req.maxResolution))
	defer closed()
	return s.sendSeries(ctx, req, stream, turn)
}

// sendSeries reads what is asked for and sends it as it comes: SendMsg waits for a
// reader that is slow, and so does the source.
func (s *Server) sendSeries(ctx context.Context, req *seriesRequest, stream grpc.ServerStream, turn *turn) (err error) {
	q, err := s.querier(req.mint, req.maxt, req.without)
	if err != nil {
		return sourceError(err, req.strict)
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	set := q.Select(ctx, true, req.selectHints(), req.matchers...)
	w := &frameWriter{stream: stream, turn: turn, batch: req.batch, pool: s.pool, metrics: s.metrics}
	if err := s.copySeries(readcost.From(ctx), req, set, w); err != nil {
		return err
	}
	if err := set.Err(); err != nil {
		return sourceError(err, req.strict)
	}
	if err := w.flush(); err != nil {
		return err
	}
	for _, warning := range set.Warnings().AsErrors() {
		if err := w.warn(clip(warning.Error())); err != nil {
			return err
		}
	}
	return nil
}

// copySeries sends the series of a set, as many as the request wants.
func (s *Server) copySeries(cost *readcost.Cost, req *seriesRequest, set storage.ChunkSeriesSet, w *frameWriter) error {
	var (
		it   chunks.Iterator
		last labels.Labels
		sent int64
	)
	for set.Next() {
		series := set.At()
		ls := series.Labels()
		if !req.shard.has(ls) {
			continue
		}
		if sent == 0 || !labels.Equal(last, ls) { // replicas of each other are one
			if req.limit > 0 && sent == req.limit {
				return nil
			}
			sent++
			last = ls
			if err := cost.Returned(1, 0, 0); err != nil {
				return err
			}
		}
		lost, known := sortedsets.Removed(series)
		known = known && req.removed && len(req.without) > 0
		w.begin(ls, lost, known)
		if !req.skipChunks {
			it = series.Iterator(it)
			if err := copyChunks(cost, req, it, w); err != nil {
				return err
			}
		}
		if err := w.end(req.skipChunks); err != nil {
			return err
		}
	}
	return nil
}

func copyChunks(cost *readcost.Cost, req *seriesRequest, it chunks.Iterator, w *frameWriter) error {
	for it.Next() {
		m := it.At()
		if m.Chunk != nil {
			if err := cost.Returned(0, 1, m.Chunk.NumSamples()); err != nil {
				return err
			}
		}
		if err := w.add(m, req.aggregates); err != nil {
			return err
		}
	}
	return sourceError(it.Err(), req.strict)
}

// selectHints are those for the source. Where series are left out here it must not
// count them.
func (r *seriesRequest) selectHints() *storage.SelectHints {
	hints := &storage.SelectHints{
		Start: r.mint, End: r.maxt, Step: r.hints.step, Func: r.hints.fn, Range: r.hints.rng,
		Grouping: r.hints.grouping, By: r.hints.by,
	}
	if r.shard.all() && len(r.without) == 0 {
		hints.Limit = int(max(r.limit, 0))
	}
	switch {
	case r.skipChunks:
		hints.Func = "series"
	case hints.Func == "series": // which would be the same
		hints.Func = ""
	}
	return hints
}
