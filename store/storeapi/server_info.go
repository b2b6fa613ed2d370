package storeapi

import (
	"context"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// notReadyError is what Info answers before the source is ready.
type notReadyError struct{ err error }

func (e *notReadyError) Error() string     { return "not ready yet: " + e.err.Error() }
func (e *notReadyError) Unwrap() error     { return e.err }
func (e *notReadyError) Unavailable() bool { return true }

// info is the method Info.
func (s *Server) info(context.Context, []byte) (encoded, error) {
	if s.opts.Ready != nil {
		if err := s.opts.Ready(); err != nil {
			return nil, &notReadyError{err}
		}
	}
	i := &info{component: s.opts.Component, store: &storeInfo{
		mint: math.MinInt64, maxt: math.MaxInt64, sharding: true, without: true, removed: true,
	}}
	if source, ok := s.source.(streamer); ok {
		i.store.streams = collect(source)
		i.store.mint, i.store.maxt = span(i.store.streams)
	}
	labelled := slices.ContainsFunc(i.store.streams, func(s stream) bool { return !s.external.IsEmpty() })
	for _, s := range i.store.streams {
		if labelled { // one that has none is among them, or it would be passed by
			i.labelSets = append(i.labelSets, s.external)
		}
	}
	_, i.metadata = s.source.(metadataSource)
	if _, i.exemplars = s.source.(storage.ExemplarQueryable); i.exemplars {
		i.mint, i.maxt = i.store.mint, i.store.maxt
	}
	return i.encode(), nil
}

func collect(source streamer) (streams []stream) {
	source.Streams(func(external labels.Labels, mint, maxt int64) bool {
		streams = append(streams, stream{external, mint, maxt})
		return true
	})
	return streams
}
