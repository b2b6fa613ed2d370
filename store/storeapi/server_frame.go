package storeapi

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// frameBytes is about how large a message is that has more than one series.
	frameBytes = 128 << 10
	// seriesBytes is about how large a part of a series may be. What is longer comes
	// in several messages.
	seriesBytes = 1 << 20
	// mostBatch bounds the series in a message, whatever the client asks for.
	mostBatch = 4096
)

// frameWriter makes messages of series and sends them. Chunks are copied once, into
// the message: gRPC may hold on to it for longer than the querier is open, whose
// memory the chunks are in.
type frameWriter struct {
	stream  grpc.ServerStream
	turn    *turn
	batch   int64 // series in a message
	pool    mem.BufferPool
	metrics *serverMetrics

	current sentSeries // the series that is being collected
	bytes   int        // of its chunks

	buf   *[]byte // of the message that is being written, or nil
	count int64   // series in it
}

// sentFrame is a SeriesResponse on its way out: a head, which may be empty, and series.
type sentFrame struct {
	head []byte
	buf  *[]byte
	pool mem.BufferPool
}

// Encode is that of grpcwire.Sent.
func (f *sentFrame) Encode(mem.BufferPool) (mem.BufferSlice, error) {
	body := mem.NewBuffer(f.buf, f.pool)
	if len(f.head) == 0 {
		return mem.BufferSlice{body}, nil
	}
	return mem.BufferSlice{mem.SliceBuffer(f.head), body}, nil
}

// begin begins a series.
func (w *frameWriter) begin(ls, lost labels.Labels, tell bool) {
	w.current.labels = encodeSeriesLabels(w.current.labels[:0], ls, lost, tell)
	w.current.chunks, w.bytes = w.current.chunks[:0], 0
}

// add adds a chunk to the series.
func (w *frameWriter) add(m chunks.Meta, wanted aggregateSet) error {
	if m.Chunk == nil {
		return fmt.Errorf("the chunk from %d to %d has no data", m.MinTime, m.MaxTime)
	}
	c, ok, err := newSentChunk(m, wanted)
	if err != nil || !ok {
		return err
	}
	if w.bytes > 0 && w.bytes+c.bytes > seriesBytes {
		if err := w.part(); err != nil {
			return err
		}
	}
	w.current.chunks = append(w.current.chunks, c)
	w.bytes += c.bytes
	return nil
}

// end ends the series. One without chunks is sent only if bare is set.
func (w *frameWriter) end(bare bool) error {
	if len(w.current.chunks) == 0 && !bare {
		return nil
	}
	w.metrics.series.Inc()
	return w.part()
}

// part puts the collected chunks of the series into a message.
func (w *frameWriter) part() error {
	size := w.current.size()
	field := sizeMessage(fieldSeries, size)
	if w.buf != nil && len(*w.buf)+field > cap(*w.buf) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.buf == nil {
		room := field
		if w.batch > 1 {
			room = max(room, frameBytes)
		}
		w.buf = w.pool.Get(room)
		*w.buf = (*w.buf)[:0]
	}
	*w.buf = w.current.append(*w.buf, size)
	w.count++
	w.metrics.chunks.Add(float64(len(w.current.chunks)))
	w.current.chunks, w.bytes = w.current.chunks[:0], 0
	if w.count >= min(w.batch, mostBatch) {
		return w.flush()
	}
	return nil
}

// flush sends what has been written.
func (w *frameWriter) flush() error {
	if w.buf == nil {
		return nil
	}
	f := &sentFrame{buf: w.buf, pool: w.pool}
	if w.batch > 1 {
		f.head = protowire.AppendTag(nil, fieldBatch, protowire.BytesType)
		f.head = protowire.AppendVarint(f.head, uint64(len(*w.buf)))
	}
	w.metrics.bytes.Add(float64(len(*w.buf)))
	w.buf, w.count = nil, 0
	return w.send(f)
}

// warn sends a warning.
func (w *frameWriter) warn(text string) error {
	return w.send(encoded(appendString(nil, fieldWarning, text)))
}

func (w *frameWriter) send(m any) error {
	if err := w.turn.send(func() error { return w.stream.SendMsg(m) }); err != nil {
		return &sentError{err}
	}
	return nil
}
