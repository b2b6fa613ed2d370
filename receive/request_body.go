package receive

import (
	"errors"
	"io"
	"net/http"

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

// requestBody reads the body of r into buf, which may grow, up to limit bytes;
// a negative limit is none.
func requestBody(w http.ResponseWriter, r *http.Request, buf []byte, limit int64) ([]byte, *requestError) {
	if limit >= 0 && r.ContentLength > limit {
		return buf, tooLarge(r.ContentLength, limit)
	}
	body := r.Body
	if limit >= 0 {
		body = http.MaxBytesReader(w, r.Body, limit)
	}
	buf, err := readInto(buf[:0], body, r.ContentLength)
	var tooLong *http.MaxBytesError
	switch {
	case err == nil:
		return buf, nil
	case errors.As(err, &tooLong):
		return buf, tooLarge(-1, limit)
	}
	// The data may be good, and the next attempt come through: this must not
	// be a 4xx, after which senders drop it.
	e := refuseRequest(http.StatusServiceUnavailable, "the request's body did not arrive in full; send it again: %v", err)
	e.cause, e.retry = err, true
	return buf, e
}

func tooLarge(size, limit int64) *requestError {
	if size >= 0 {
		return refuseRequest(http.StatusRequestEntityTooLarge, "the body of %d bytes is larger than the %d bytes this receiver takes; send fewer samples a request", size, limit)
	}
	return refuseRequest(http.StatusRequestEntityTooLarge, "the body is larger than the %d bytes this receiver takes; send fewer samples a request", limit)
}

// readInto appends all of r to buf. What r is said to hold sizes the buffer
// only as far as bytes have really come.
func readInto(buf []byte, r io.Reader, said int64) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			grow := max(firstRead, cap(buf))
			if said > 0 {
				// One byte more lets the end be seen without growing again.
				grow = min(grow, max(int(said)-len(buf)+1, 512))
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

// decompress decodes a block of snappy into buf, which may grow, if it holds at
// most limit bytes; a negative limit is none. The library is the fastest of those
// for Go, by a third on 1.0 bodies, and takes a superset of snappy.
func decompress(body, buf []byte, limit int64) ([]byte, *requestError) {
	if len(body) == 0 {
		// Even the block that holds nothing has a byte.
		return buf, refuseRequest(http.StatusBadRequest, "the body is empty, which is not a block of snappy")
	}
	claimed, err := s2.DecodedLen(body)
	if err != nil {
		return buf, refuseRequest(http.StatusBadRequest, "the body is not a block of snappy: its header is broken (%v)", err)
	}
	if limit >= 0 && int64(claimed) > limit {
		return buf, refuseRequest(http.StatusRequestEntityTooLarge, "the body decompresses to %d bytes, more than the %d this receiver takes; send fewer samples a request", claimed, limit)
	}
	if int64(claimed) > int64(len(body))*snappyMostOut/snappyPerIn+snappyMostOut {
		return buf, refuseRequest(http.StatusBadRequest, "the body is not a block of snappy: %d bytes cannot decompress to the %d its header claims", len(body), claimed)
	}
	out, err := s2.Decode(buf[:cap(buf)], body)
	if err != nil {
		return buf, refuseRequest(http.StatusBadRequest, "the body is not a block of snappy: it is corrupt or cut short (%d bytes that should decompress to %d)", len(body), claimed)
	}
	return out, nil
}
