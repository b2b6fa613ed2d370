package receive

import (
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/klauspost/compress/s2"
)

// firstRead is how much is allocated for a body before any of it has come: a
// Content-Length is only a claim.
const firstRead = 64 << 10

// A block of snappy yields at most 64 bytes for each 3 it takes, so a header
// that claims more is known to be wrong before memory is taken for it.
const (
	snappyMostOut = 64
	snappyPerIn   = 3
)

// maxBodyBuffer bounds the buffer that a body leaves behind for the next.
const maxBodyBuffer = 1 << 20

// bodyBuffer holds a body as it was sent. It is not part of a handlerScratch,
// since many bodies wait while few are stored.
type bodyBuffer struct{ b []byte }

// readBody reads the body of r, up to limit bytes; a negative limit is none. It
// gets a buffer from pool only once some of the body has come: until then the
// request costs next to nothing.
func (a *admission) readBody(w http.ResponseWriter, r *http.Request, limit int64, pool *sync.Pool) *requestError {
	body := r.Body
	if limit >= 0 {
		body = http.MaxBytesReader(w, r.Body, limit)
	}
	n, err := io.ReadAtLeast(body, a.first[:], 1)
	a.buffer = pool.Get().(*bodyBuffer)
	buf := a.buffer.b[:0]
	if !a.cover(&a.body, int64(cap(buf))) {
		buf = nil // What the last request left behind is more than there is room for.
	}
	if err == nil {
		buf, err = a.readInto(append(buf, a.first[:n]...), body, r.ContentLength)
	}
	a.buffer.b = buf
	a.settle(&a.body, int64(cap(buf)))
	var tooLong *http.MaxBytesError
	refused, noRoom := errorAs[*requestError](err)
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return nil
	case noRoom:
		return refused
	case errors.As(err, &tooLong):
		return tooLarge(-1, limit)
	}
	// The data may be good, and the next attempt come through: this must not
	// be a 4xx, after which senders drop it.
	e := refuseRequest(http.StatusServiceUnavailable, "the request's body did not arrive in full; send it again: %v", err)
	e.cause, e.retry = err, true
	return e
}

func tooLarge(size, limit int64) *requestError {
	if size >= 0 {
		return refuseByLimit(ReasonRequestBytes, "the body of %d bytes is larger than the %d bytes this receiver takes; send fewer samples a request", size, limit)
	}
	return refuseByLimit(ReasonRequestBytes, "the body is larger than the %d bytes this receiver takes; send fewer samples a request", limit)
}

// readInto appends all of r to buf. What r is said to hold sizes the buffer
// only as far as bytes have really come, and all of it is accounted before it is
// taken, the old buffer beside the new one.
func (a *admission) readInto(buf []byte, r io.Reader, said int64) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			grow := max(firstRead, cap(buf))
			if said > 0 {
				// One byte more lets the end be seen without growing again.
				grow = min(grow, max(int(said)-len(buf)+1, 512))
			}
			if size := int64(2*cap(buf) + grow); !a.cover(&a.body, size) {
				if size > a.global.InFlightBytes {
					return buf, a.global.neverFits(ReasonRequestBytes, size)
				}
				return buf, a.global.noRoomNow()
			}
			bigger := make([]byte, len(buf), len(buf)+grow)
			copy(bigger, buf)
			buf = bigger
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// decodedRoom accounts for size bytes of decompressed body and returns the
// buffer for them, empty, if buf is not large enough or there is no room for
// what it takes.
func (a *admission) decodedRoom(buf []byte, size int) ([]byte, *requestError) {
	if cap(buf) >= size && a.cover(&a.decoded, int64(cap(buf))) {
		return buf, nil
	}
	return nil, a.coverDecoded(int64(size))
}

// coverDecoded sees to it that size bytes are accounted for the decompressed
// body, which is asked before memory is taken for more of it.
func (a *admission) coverDecoded(size int64) *requestError {
	switch {
	case a.cover(&a.decoded, size):
		return nil
	case a.body+size > a.global.InFlightBytes:
		return a.global.neverFits(ReasonDecodedBytes, a.body+size)
	}
	return a.global.noRoomNow()
}

// decompress decodes a block of snappy into buf, which may grow, if it holds at
// most limit bytes; a negative limit is none. room is asked for the buffer before
// memory is taken. The library is the fastest of those
// for Go, by a third on 1.0 bodies, and takes a superset of snappy.
func decompress(body, buf []byte, limit int64, room func(buf []byte, size int) ([]byte, *requestError)) ([]byte, *requestError) {
	if len(body) == 0 {
		// Even the block that holds nothing has a byte.
		return buf, refuseRequest(http.StatusBadRequest, "the body is empty, which is not a block of snappy")
	}
	claimed, err := s2.DecodedLen(body)
	if err != nil {
		return buf, refuseRequest(http.StatusBadRequest, "the body is not a block of snappy: its header is broken (%v)", err)
	}
	if limit >= 0 && int64(claimed) > limit {
		return buf, refuseByLimit(ReasonDecodedBytes, "the body decompresses to %d bytes, more than the %d this receiver takes; send fewer samples a request", claimed, limit)
	}
	if int64(claimed) > int64(len(body))*snappyMostOut/snappyPerIn+snappyMostOut {
		return buf, refuseRequest(http.StatusBadRequest, "the body is not a block of snappy: %d bytes cannot decompress to the %d its header claims", len(body), claimed)
	}
	buf, refused := room(buf, claimed)
	if refused != nil {
		return buf, refused
	}
	out, err := s2.Decode(buf[:cap(buf)], body)
	if err != nil {
		return buf, refuseRequest(http.StatusBadRequest, "the body is not a block of snappy: it is corrupt or cut short (%d bytes that should decompress to %d)", len(body), claimed)
	}
	return out, nil
}
