package grpcwire

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/s2"
)

// SnappyName is what a message compressed in the framed format of snappy says
// it is.
const SnappyName = "snappy"

// snappyBlock is how much is compressed at a time, the most that the format
// allows.
const snappyBlock = 64 << 10

// SnappyCompressor is a grpc.Compressor.
type SnappyCompressor struct {
	writers sync.Pool // of *s2.Writer
}

// Type returns the name of the format.
func (*SnappyCompressor) Type() string { return SnappyName }

// Do compresses data.
func (c *SnappyCompressor) Do(to io.Writer, data []byte) error {
	w, ok := c.writers.Get().(*s2.Writer)
	if !ok {
		w = s2.NewWriter(nil, s2.WriterSnappyCompat(), s2.WriterConcurrency(1), s2.WriterBlockSize(snappyBlock))
	}
	w.Reset(to)
	defer func() {
		w.Reset(nil)
		c.writers.Put(w)
	}()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Close()
}

// SnappyDecompressor is a grpc.Decompressor that stops beyond a limit, since a
// message decompresses to up to 21 times its size.
type SnappyDecompressor struct {
	// Limit is how many bytes a message may have.
	Limit int
	// Strict makes an error of a message beyond the limit. Otherwise it comes cut off
	// one byte behind, by which gRPC sees that it is too large and says so better, but
	// only if it takes no larger ones itself.
	Strict  bool
	readers sync.Pool
}

// Type returns the name of the format.
func (*SnappyDecompressor) Type() string { return SnappyName }

// Do returns at most one byte more than the limit.
func (d *SnappyDecompressor) Do(from io.Reader) ([]byte, error) {
	r, ok := d.readers.Get().(*s2.Reader)
	if !ok {
		r = s2.NewReader(nil, s2.ReaderMaxBlockSize(snappyBlock), s2.ReaderAllocBlock(snappyBlock))
	}
	r.Reset(from)
	defer func() {
		r.Reset(nil)
		d.readers.Put(r)
	}()
	var out bytes.Buffer
	_, err := out.ReadFrom(io.LimitReader(r, int64(d.Limit)+1))
	if err == nil && d.Strict && out.Len() > d.Limit {
		return nil, fmt.Errorf("the message has more than the %d bytes that this server takes decompressed", d.Limit)
	}
	return out.Bytes(), err
}
