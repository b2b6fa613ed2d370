package querytest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// ReadSamples reads the rest of it. The samples are copies.
func ReadSamples(it chunkenc.Iterator) ([]Sample, error) {
	var list []Sample
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		s := Sample{ST: it.AtST()}
		switch typ {
		case chunkenc.ValHistogram:
			var h *histogram.Histogram
			s.T, h = it.AtHistogram(nil)
			s.Histogram = h.Copy()
		case chunkenc.ValFloatHistogram:
			var fh *histogram.FloatHistogram
			s.T, fh = it.AtFloatHistogram(nil)
			s.FloatHistogram = fh.Copy()
		default:
			s.T, s.Float = it.At()
		}
		list = append(list, s)
	}
	return list, it.Err()
}

// Equal reports whether both samples have the same time, type and value: floats
// bit for bit, histograms after compaction and without counter reset hints
// except that a gauge must stay one. Start timestamps are not looked at.
func (s Sample) Equal(other Sample) bool {
	if s.T != other.T || s.Type() != other.Type() {
		return false
	}
	switch s.Type() {
	case chunkenc.ValHistogram:
		a, b := s.Histogram, other.Histogram
		if value.IsStaleNaN(a.Sum) || value.IsStaleNaN(b.Sum) {
			return value.IsStaleNaN(a.Sum) && value.IsStaleNaN(b.Sum)
		}
		return sameGauge(a.CounterResetHint, b.CounterResetHint) && (a.Equals(b) || a.Copy().Compact(0).Equals(b.Copy().Compact(0)))
	case chunkenc.ValFloatHistogram:
		a, b := s.FloatHistogram, other.FloatHistogram
		if value.IsStaleNaN(a.Sum) || value.IsStaleNaN(b.Sum) {
			return value.IsStaleNaN(a.Sum) && value.IsStaleNaN(b.Sum)
		}
		return sameGauge(a.CounterResetHint, b.CounterResetHint) && (a.Equals(b) || a.Copy().Compact(0).Equals(b.Copy().Compact(0)))
	default:
		return math.Float64bits(s.Float) == math.Float64bits(other.Float)
	}
}

func sameGauge(a, b histogram.CounterResetHint) bool {
	return (a == histogram.GaugeType) == (b == histogram.GaugeType)
}

// String shows the sample for test output.
func (s Sample) String() string {
	switch s.Type() {
	case chunkenc.ValHistogram:
		return fmt.Sprintf("%s@%d (hint %d)", s.Histogram, s.T, s.Histogram.CounterResetHint)
	case chunkenc.ValFloatHistogram:
		return fmt.Sprintf("float %s@%d (hint %d)", s.FloatHistogram, s.T, s.FloatHistogram.CounterResetHint)
	default:
		return fmt.Sprintf("%v(%#x)@%d", s.Float, math.Float64bits(s.Float), s.T)
	}
}

// readChunks checks the chunks of a series and decodes them: each ordered by
// MinTime, overlapping the inclusive range, true to its own bounds.
func readChunks(it chunks.Iterator, mint, maxt int64) ([]chunks.Meta, []Sample, error) {
	var (
		metas  []chunks.Meta
		all    []Sample
		before = int64(math.MinInt64)
		inner  chunkenc.Iterator
	)
	for it.Next() {
		meta := it.At()
		switch {
		case meta.Chunk == nil:
			return nil, nil, fmt.Errorf("chunk [%d, %d] has no data", meta.MinTime, meta.MaxTime)
		case meta.MinTime < before:
			return nil, nil, fmt.Errorf("chunk [%d, %d] comes after one that starts later, at %d", meta.MinTime, meta.MaxTime, before)
		case meta.MinTime > maxt || meta.MaxTime < mint:
			return nil, nil, fmt.Errorf("chunk [%d, %d] lies outside the asked range [%d, %d]", meta.MinTime, meta.MaxTime, mint, maxt)
		}
		before = meta.MinTime
		inner = meta.Chunk.Iterator(inner)
		list, err := ReadSamples(inner)
		if err == nil {
			err = checkChunk(list, meta)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("chunk [%d, %d] %w", meta.MinTime, meta.MaxTime, err)
		}
		metas = append(metas, meta)
		all = append(all, list...)
	}
	return metas, all, it.Err()
}

func checkChunk(list []Sample, meta chunks.Meta) error {
	if len(list) == 0 {
		return errors.New("is empty")
	}
	for i, s := range list {
		if s.T < meta.MinTime || s.T > meta.MaxTime {
			return fmt.Errorf("holds a sample at %d", s.T)
		}
		if i > 0 && s.T <= list[i-1].T {
			return fmt.Errorf("has a sample at %d after one at %d", s.T, list[i-1].T)
		}
	}
	return nil
}

// sameChunks checks that it gives the chunks of want again.
func sameChunks(it chunks.Iterator, want []chunks.Meta) error {
	for i, w := range want {
		if !it.Next() {
			return fmt.Errorf("%d of %d chunks: %w", i, len(want), cmp.Or(it.Err(), errors.New("no more")))
		}
		got := it.At()
		if got.MinTime != w.MinTime || got.MaxTime != w.MaxTime || got.Chunk == nil || !bytes.Equal(got.Chunk.Bytes(), w.Chunk.Bytes()) {
			return fmt.Errorf("chunk [%d, %d] is another than [%d, %d] before", got.MinTime, got.MaxTime, w.MinTime, w.MaxTime)
		}
	}
	if it.Next() {
		return fmt.Errorf("more than the %d chunks before", len(want))
	}
	return it.Err()
}

// compareSamples checks that got, in any order and with repetitions, is exactly
// what want has within the inclusive range.
func compareSamples(got, want []Sample, mint, maxt int64) error {
	want = within(want, mint, maxt)
	seen := make([]bool, len(want))
	for _, s := range got {
		if s.T < mint || s.T > maxt {
			continue
		}
		i, found := slices.BinarySearchFunc(want, s.T, func(w Sample, t int64) int { return cmp.Compare(w.T, t) })
		if !found {
			return fmt.Errorf("sample %s was never stored", s)
		}
		if !s.Equal(want[i]) {
			return fmt.Errorf("sample %s was stored as %s", s, want[i])
		}
		seen[i] = true
	}
	if i := slices.Index(seen, false); i >= 0 {
		return fmt.Errorf("sample %s is missing", want[i])
	}
	return nil
}

// within returns the samples, ordered by time, in the inclusive range.
func within(list []Sample, mint, maxt int64) []Sample {
	byTime := func(s Sample, t int64) int { return cmp.Compare(s.T, t) }
	from, _ := slices.BinarySearchFunc(list, mint, byTime)
	to, found := slices.BinarySearchFunc(list, maxt, byTime)
	if found {
		to++
	}
	return list[from:max(from, to)]
}
