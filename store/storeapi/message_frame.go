package storeapi

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/internal/grpcwire"
)

// mostAhead is for how many chunks of a series room is made before they are there.
const mostAhead = 256

// frame is the message SeriesResponse, as it comes: series, or a warning, or
// something that is of no use here.
type frame struct {
	series  []receivedSeries
	warning string
}

// receivedSeries is the message Series, or a part of one. Its chunks point into the
// message.
type receivedSeries struct {
	labels labels.Labels
	lost   labels.Labels
	told   bool // whether lost is known
	chunks []chunks.Meta
	bytes  int64 // that it takes, with its part of the message
}

// frameDecoder reads messages of one call. It must not be used concurrently.
type frameDecoder struct {
	unfolding
	builder    labels.ScratchBuilder
	mint, maxt int64 // chunks beside this inclusive range are left out
}

// decode reads a SeriesResponse. The series refer to body, which must not change. The
// error is errUnfolds, what take has said, or that of a message that makes no sense.
func (d *frameDecoder) decode(body []byte) (f frame, err error) {
	d.begin()
	one := func(body []byte) error {
		before := d.made
		if err := d.make(seriesMemory); err != nil {
			return err
		}
		s, err := d.series(body)
		s.bytes = d.made - before + int64(len(body))
		f.series = append(f.series, s)
		return err
	}
	err = grpcwire.Each(body, func(field grpcwire.Field) error {
		switch {
		case field.Is(fieldSeries, protowire.BytesType):
			return one(field.Bytes)
		case field.Is(fieldWarning, protowire.BytesType):
			f.warning = string(field.Bytes)
		case field.Is(fieldBatch, protowire.BytesType):
			return grpcwire.Each(field.Bytes, func(field grpcwire.Field) error {
				if field.Is(fieldSeries, protowire.BytesType) {
					return one(field.Bytes)
				}
				return nil
			})
		}
		return nil
	})
	if err == nil {
		err = d.settle()
	}
	return f, err
}

func (d *frameDecoder) series(body []byte) (s receivedSeries, err error) {
	d.builder.Reset()
	sorted, last, names, count := true, "", int64(0), 0
	for pos := 0; pos < len(body); {
		f, err := grpcwire.Next(body, pos)
		if err != nil {
			return s, err
		}
		pos = f.End
		switch {
		case f.Is(fieldLabels, protowire.BytesType):
			name, value, err := labelIn(f.Bytes)
			if err != nil {
				return s, err
			}
			if name == "" {
				return s, errors.New("a series has a label without a name")
			}
			if value == "" { // an absent label
				continue
			}
			names++
			if err := d.fits(names * labelMemory); err != nil {
				return s, err
			}
			sorted = sorted && last < name
			last = name
			d.builder.Add(name, value)
		case f.Is(fieldChunks, protowire.BytesType):
			if count == 0 {
				// As many as fit in what is left, if they are like the first; a lie costs
				// no more than a few pages.
				ahead := min(1+(len(body)-pos)/max(len(f.Bytes), 1), mostAhead)
				if err := d.make(int64(ahead) * metaMemory); err != nil {
					return s, err
				}
				s.chunks = make([]chunks.Meta, 0, ahead)
			}
			count++
			m, ok, err := d.chunk(f.Bytes)
			if err != nil {
				return s, fmt.Errorf("series %s: %w", d.finish(sorted), err)
			}
			if !ok {
				continue
			}
			if n := len(s.chunks); n == cap(s.chunks) { // which is doubled
				if err := d.make(int64(n) * metaMemory); err != nil {
					return s, err
				}
			}
			s.chunks = append(s.chunks, m)
		case f.Is(fieldRemoved, protowire.BytesType):
			if s.lost, err = decodeLabelSet(f.Bytes); err != nil {
				return s, err
			}
			s.told = true
		}
	}
	s.labels = d.finish(sorted)
	if err := d.make(int64(s.labels.ByteSize() + s.lost.ByteSize())); err != nil {
		return s, err
	}
	if !sorted {
		if name, twice := s.labels.HasDuplicateLabelNames(); twice {
			return s, fmt.Errorf("series %s has the label %q twice", s.labels, name)
		}
	}
	return s, nil
}

func (d *frameDecoder) finish(sorted bool) labels.Labels {
	if !sorted {
		d.builder.Sort()
	}
	return d.builder.Labels()
}

// labelIn reads the message Label. The strings point into body, which labels.Labels
// copies or, with another of its implementations, refers to: that memory is ours
// and does not change.
func labelIn(body []byte) (name, value string, err error) {
	for pos := 0; pos < len(body); {
		f, err := grpcwire.Next(body, pos)
		if err != nil {
			return "", "", err
		}
		pos = f.End
		switch {
		case f.Is(1, protowire.BytesType):
			name = unsafe.String(unsafe.SliceData(f.Bytes), len(f.Bytes))
		case f.Is(2, protowire.BytesType):
			value = unsafe.String(unsafe.SliceData(f.Bytes), len(f.Bytes))
		}
	}
	return name, value, nil
}

// chunk reads the message AggrChunk. It returns false for a chunk that is not
// wanted.
func (d *frameDecoder) chunk(body []byte) (m chunks.Meta, ok bool, err error) {
	var (
		parts [aggregateCount]part
		found bool
	)
	for pos := 0; pos < len(body); {
		f, err := grpcwire.Next(body, pos)
		if err != nil {
			return m, false, err
		}
		pos = f.End
		switch {
		case f.Is(fieldMinTime, protowire.VarintType):
			m.MinTime = int64(f.Number)
		case f.Is(fieldMaxTime, protowire.VarintType):
			m.MaxTime = int64(f.Number)
		case f.Type == protowire.BytesType && f.Num >= fieldRaw && f.Num < fieldRaw+aggregateCount:
			if parts[f.Num-fieldRaw], err = decodePart(f.Bytes); err != nil {
				return m, false, err
			}
			found = true
		}
	}
	switch {
	case m.MinTime > m.MaxTime:
		return m, false, fmt.Errorf("a chunk begins at %d and ends at %d", m.MinTime, m.MaxTime)
	case m.MaxTime < d.mint || m.MinTime > d.maxt:
		return m, false, nil
	case !found:
		return m, false, errors.New("a chunk has no data")
	case len(parts[0].data) == 0:
		if err := d.make(aggregateMemory); err != nil {
			return m, false, err
		}
		m.Chunk = newAggregates(parts)
	default:
		if err := d.make(chunkMemory); err != nil {
			return m, false, err
		}
		m.Chunk, err = parts[0].chunk()
	}
	if err != nil {
		return m, false, fmt.Errorf("chunk from %d to %d: %w", m.MinTime, m.MaxTime, err)
	}
	return m, true, nil
}

// decodePart reads the message Chunk. The data points into body.
func decodePart(body []byte) (part, error) {
	p := part{enc: chunkenc.EncXOR}
	for pos := 0; pos < len(body); {
		f, err := grpcwire.Next(body, pos)
		if err != nil {
			return p, err
		}
		pos = f.End
		switch {
		case f.Is(1, protowire.VarintType):
			if f.Number > 2 {
				return p, fmt.Errorf("a chunk is of the unknown type %d", f.Number)
			}
			p.enc = chunkenc.Encoding(f.Number + 1)
		case f.Is(2, protowire.BytesType):
			p.data = f.Bytes[:len(f.Bytes):len(f.Bytes)]
		}
	}
	return p, nil
}
