package querytest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// Model is the simplest ChunkQueryable: everything in memory, every question
// answered by looking at all series. It has all optional interfaces. Its
// methods may run side by side.
type Model struct {
	mu      sync.Mutex
	streams []*modelStream
}

type modelStream struct {
	external labels.Labels
	series   map[uint64][]*modelSeries // by hash of the full labels
	metadata map[string]metadata.Metadata
}

type modelSeries struct {
	labels    labels.Labels // with the external ones
	samples   []Sample
	exemplars []exemplar.Exemplar
	encoded   []chunks.Meta // samples as chunks; nil when they changed since
}

// NewModel returns a Model that holds data.
func NewModel(data Data) *Model {
	m := &Model{}
	for _, stream := range data.Streams {
		ms := m.stream(stream.External)
		maps.Copy(ms.metadata, stream.Metadata)
		for _, series := range stream.Series {
			s := ms.get(stream.Labels(series))
			s.samples = append(s.samples, series.Samples...)
			s.exemplars = append(s.exemplars, series.Exemplars...)
		}
	}
	return m
}

// Append adds one sample to the series with the given labels, external ones
// excluded, in the stream with these external labels. It may come in any order
// of time; a sample at a time that is taken is an error.
func (m *Model) Append(external, lset labels.Labels, sample Sample) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stream(external).get(withExternal(lset, external))
	i, taken := slices.BinarySearchFunc(s.samples, sample.T, func(s Sample, t int64) int { return cmp.Compare(s.T, t) })
	if taken {
		return fmt.Errorf("series %s: %w at %d", s.labels, storage.ErrDuplicateSampleForTimestamp, sample.T)
	}
	s.samples = slices.Insert(s.samples, i, sample)
	s.encoded = nil
	return nil
}

// AppendExemplar adds an exemplar; see Append.
func (m *Model) AppendExemplar(external, lset labels.Labels, e exemplar.Exemplar) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stream(external).get(withExternal(lset, external))
	s.exemplars = append(s.exemplars, e)
}

// SetMetadata of one metric family in the stream with these external labels.
func (m *Model) SetMetadata(external labels.Labels, family string, md metadata.Metadata) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stream(external).metadata[family] = md
}

func (m *Model) stream(external labels.Labels) *modelStream {
	for _, s := range m.streams {
		if labels.Equal(s.external, external) {
			return s
		}
	}
	s := &modelStream{external: external, series: map[uint64][]*modelSeries{}, metadata: map[string]metadata.Metadata{}}
	m.streams = append(m.streams, s)
	return s
}

func (s *modelStream) get(full labels.Labels) *modelSeries {
	hash := full.Hash()
	for _, series := range s.series[hash] {
		if labels.Equal(series.labels, full) {
			return series
		}
	}
	series := &modelSeries{labels: full}
	s.series[hash] = append(s.series[hash], series)
	return series
}

// chunks encodes the samples, in chunks of at most 120 as Prometheus does.
func (s *modelSeries) chunks() ([]chunks.Meta, error) {
	if s.encoded != nil {
		return s.encoded, nil
	}
	list := make([]chunks.Sample, 0, len(s.samples))
	for _, sample := range s.samples {
		list = append(list, chunkSample{sample.Copy()}) // encoding may change a histogram
	}
	metas, err := storage.ExpandChunks(storage.NewSeriesToChunkEncoder(storage.NewListSeries(s.labels, list)).Iterator(nil))
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", s.labels, err)
	}
	s.encoded = metas
	return metas, nil
}

// String names the model in warnings and errors.
func (*Model) String() string { return "model" }

// Streams yields the external labels of each stream that has samples and the
// inclusive range of their times in milliseconds.
func (m *Model) Streams(yield func(external labels.Labels, mint, maxt int64) bool) {
	type stream struct {
		external   labels.Labels
		mint, maxt int64
	}
	var found []stream
	m.mu.Lock()
	for _, s := range m.streams {
		r := stream{external: s.external, mint: 1, maxt: 0}
		for _, same := range s.series {
			for _, series := range same {
				if len(series.samples) == 0 {
					continue
				}
				first, last := series.samples[0].T, series.samples[len(series.samples)-1].T
				if r.mint > r.maxt {
					r.mint, r.maxt = first, last
				}
				r.mint, r.maxt = min(r.mint, first), max(r.maxt, last)
			}
		}
		if r.mint <= r.maxt {
			found = append(found, r)
		}
	}
	m.mu.Unlock()
	for _, r := range found {
		if !yield(r.external, r.mint, r.maxt) {
			return
		}
	}
}

// MetricMetadata returns the metadata of one metric family, or of all if metric
// is empty, and of at most limit families unless that is 0.
func (m *Model) MetricMetadata(_ context.Context, metric string, limit int) (map[string][]metadata.Metadata, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string][]metadata.Metadata{}
	for _, s := range m.streams {
		for _, family := range slices.Sorted(maps.Keys(s.metadata)) {
			if metric != "" && metric != family {
				continue
			}
			if _, known := found[family]; !known && limit > 0 && len(found) == limit {
				continue
			}
			if md := s.metadata[family]; !slices.Contains(found[family], md) {
				found[family] = append(found[family], md)
			}
		}
	}
	return found, nil
}
