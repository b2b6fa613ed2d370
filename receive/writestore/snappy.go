package writestore

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/s2"
	"google.golang.org/grpc"
)

// snappyName is what a message compressed in the framed format of snappy says
// it is.
const snappyName = "snappy"

// snappyBlock is how much is compressed at a time, the most that the format
// allows.
const snappyBlock = 64 << 10

// SnappyDialOptions have a connection compress what it sends, as receivers of
// Thanos do by default. Between machines close to each other it takes more time
// than it saves. It is for this connection only: nothing is registered for the
// process.
func SnappyDialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		//lint:ignore SA1019 the other way is to register it for the whole process
		grpc.WithCompressor(new(snappyCompressor)),
		//lint:ignore SA1019 the other way is to register it for the whole process
		grpc.WithDecompressor(&snappyDecompressor{limit: defaultMaxMessageBytes}),
	}
}

// snappyCompressor is a grpc.Compressor.
type snappyCompressor struct {
	writers sync.Pool // of *s2.Writer
}

func (*snappyCompressor) Type() string { return snappyName }

func (c *snappyCompressor) Do(to io.Writer, data []byte) error {
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

// snappyDecompressor is a grpc.Decompressor that stops beyond a limit, since a
// message decompresses to up to 21 times its size.
type snappyDecompressor struct {
	limit   int
	readers sync.Pool // of *s2.Reader
}

func (*snappyDecompressor) Type() string { return snappyName }

// Do returns at most one byte more than the limit, by which gRPC sees that the
// message is too large.
func (d *snappyDecompressor) Do(from io.Reader) ([]byte, error) {
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
	_, err := out.ReadFrom(io.LimitReader(r, int64(d.limit)+1))
	return out.Bytes(), err
}
