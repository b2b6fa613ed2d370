package storeapi

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/chunkcheck"
)

// Fields of the messages SeriesResponse, Series and AggrChunk.
const (
	fieldSeries  = 1 // of a SeriesResponse, and of a SeriesBatch
	fieldWarning = 2
	fieldHints   = 3
	fieldBatch   = 4

	fieldLabels = 1
	fieldChunks = 2

	fieldMinTime = 1
	fieldMaxTime = 2
	fieldRaw     = 3 // and five more of aggregates
)

// part is the message Chunk: a chunk that has an encoding of its own in it. It is
// absent if data is empty.
type part struct {
	enc  chunkenc.Encoding
	data []byte
}

// newPart makes a part of a chunk, in an encoding that every Thanos reads.
func newPart(c chunkenc.Chunk) (part, error) {
	switch enc := c.Encoding(); enc {
	case chunkenc.EncXOR, chunkenc.EncHistogram, chunkenc.EncFloatHistogram:
		return part{enc, c.Bytes()}, nil
	case chunkenc.EncXOR2, chunkenc.EncHistogramST, chunkenc.EncFloatHistogramST:
		older, err := transcode(c)
		if err != nil {
			return part{}, err
		}
		return part{older.Encoding(), older.Bytes()}, nil
	default:
		return part{}, fmt.Errorf("chunks of encoding %d have no place in the protocol", enc)
	}
}

// size of the message. The type is the encoding less one, so that XOR is left out.
func (p part) size() int {
	n := protowire.SizeTag(2) + protowire.SizeBytes(len(p.data))
	if p.enc > chunkenc.EncXOR {
		n += 2
	}
	return n
}

func (p part) append(b []byte) []byte {
	if p.enc > chunkenc.EncXOR {
		b = appendInt(b, 1, int64(p.enc)-1)
	}
	return protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), p.data)
}

// chunk makes a chunk of it, which keeps the data.
func (p part) chunk() (chunkenc.Chunk, error) {
	switch p.enc {
	case chunkenc.EncXOR, chunkenc.EncHistogram, chunkenc.EncFloatHistogram:
	default:
		return nil, fmt.Errorf("a chunk is of the unknown type %d", int(p.enc)-1)
	}
	if err := chunkcheck.Check(p.enc, p.data); err != nil {
		return nil, err
	}
	return chunkenc.FromData(p.enc, p.data)
}

// sentChunk is the message AggrChunk on its way out.
type sentChunk struct {
	mint, maxt int64
	raw        part
	aggregates *[aggregateCount]part // instead of raw
	bytes      int                   // of the message, without tag and length
}

// newSentChunk takes a chunk of a source, whose data it refers to. It returns false
// if there is nothing of it to be sent.
func newSentChunk(m chunks.Meta, wanted aggregateSet) (c sentChunk, ok bool, err error) {
	c = sentChunk{mint: m.MinTime, maxt: m.MaxTime}
	c.bytes = sizeInt(fieldMinTime, c.mint) + sizeInt(fieldMaxTime, c.maxt)
	aggregates, ok := m.Chunk.(*aggrchunk.Chunk)
	if !ok {
		if c.raw, err = newPart(m.Chunk); err != nil {
			return c, false, err
		}
		c.bytes += sizeMessage(fieldRaw, c.raw.size())
		return c, true, nil
	}
	parts, ok := partsOf(aggregates, wanted), false
	c.aggregates = &parts
	for aggr, p := range parts {
		if len(p.data) > 0 {
			c.bytes += sizeMessage(protowire.Number(fieldRaw+aggr), p.size())
			ok = true
		}
	}
	return c, ok, nil
}

func (c *sentChunk) append(b []byte) []byte {
	b = appendInt(b, fieldMinTime, c.mint)
	b = appendInt(b, fieldMaxTime, c.maxt)
	one := func(num protowire.Number, p part) {
		b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.BytesType), uint64(p.size()))
		b = p.append(b)
	}
	if c.aggregates == nil {
		one(fieldRaw, c.raw)
		return b
	}
	for aggr, p := range c.aggregates {
		if len(p.data) > 0 {
			one(protowire.Number(fieldRaw+aggr), p)
		}
	}
	return b
}

func sizeInt(num protowire.Number, v int64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeVarint(uint64(v))
}

func sizeMessage(num protowire.Number, size int) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(size)
}

// sentSeries is the message Series on its way out: labels that are encoded, and
// some of the chunks.
type sentSeries struct {
	labels []byte // fields of the message, the extension with what was lost among them
	chunks []sentChunk
}

// size of the message.
func (s *sentSeries) size() int {
	n := len(s.labels)
	for i := range s.chunks {
		n += sizeMessage(fieldChunks, s.chunks[i].bytes)
	}
	return n
}

// append adds the message as a field of a SeriesResponse, or of a SeriesBatch.
func (s *sentSeries) append(b []byte, size int) []byte {
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldSeries, protowire.BytesType), uint64(size))
	b = append(b, s.labels...)
	for i := range s.chunks {
		c := &s.chunks[i]
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldChunks, protowire.BytesType), uint64(c.bytes))
		b = c.append(b)
	}
	return b
}

// encodeSeriesLabels returns the fields of a Series that say what it is.
func encodeSeriesLabels(b []byte, ls, lost labels.Labels, tell bool) []byte {
	b = appendLabels(b, fieldLabels, ls)
	if tell {
		b = appendMessage(b, fieldRemoved, labelSet(lost))
	}
	return b
}
