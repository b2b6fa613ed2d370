package receive

import "github.com/cespare/xxhash/v2"

// hashSeparator ends the tenant, each name and each value in what is hashed. It
// is no part of valid UTF-8.
const hashSeparator = 0xff

// hashBufferBytes is how much of a series is gathered to be hashed at once,
// which is faster than piece by piece. Few series are longer.
const hashBufferBytes = 1 << 10

// SeriesHash calculates the hash by which series are placed, label by label and
// without building labels: xxHash64 over the tenant, then each label's name and
// value in the order in which the series came, each followed by the byte 0xFF.
// It is what Thanos Receive v0.42 hashes (labelpb.HashWithPrefix), so that
// senders and receivers of both kinds agree. Labels in another order make
// another hash; a Router puts them in order first, while Thanos, which does not,
// refuses the series.
//
// Reset comes first. One SeriesHash serves any number of series and tenants one
// after the other and allocates once; it is not safe for concurrent use.
type SeriesHash struct {
	tenant string
	// buf are the bytes that are not in digest yet; all of them, unless the
	// series is longer than hashBufferBytes.
	buf     []byte
	spilled bool
	digest  xxhash.Digest
}

// Reset forgets the labels so far and begins a series of tenant.
func (h *SeriesHash) Reset(tenant string) {
	h.tenant = tenant
	h.begin()
}

// Label adds the next label of the series. It keeps neither slice.
func (h *SeriesHash) Label(name, value []byte) {
	if len(h.buf)+len(name)+len(value)+2 > hashBufferBytes {
		h.spill(name)
		h.spill(value)
		return
	}
	h.buf = append(h.buf, name...)
	h.buf = append(h.buf, hashSeparator)
	h.buf = append(h.buf, value...)
	h.buf = append(h.buf, hashSeparator)
}

// Sum returns the hash of the series and begins the next one of the same
// tenant.
func (h *SeriesHash) Sum() uint64 {
	var sum uint64
	if h.spilled {
		h.flush()
		sum = h.digest.Sum64()
	} else {
		sum = xxhash.Sum64(h.buf)
	}
	h.begin()
	return sum
}

func (h *SeriesHash) begin() {
	if h.buf == nil {
		h.buf = make([]byte, 0, hashBufferBytes)
	}
	h.buf, h.spilled = h.buf[:0], false
	if len(h.tenant) < hashBufferBytes {
		h.buf = append(h.buf, h.tenant...)
		h.buf = append(h.buf, hashSeparator)
		return
	}
	h.spill([]byte(h.tenant))
}

// spill adds text and a separator that may not fit into the buffer.
func (h *SeriesHash) spill(text []byte) {
	h.flush()
	_, _ = h.digest.Write(text) // never fails
	h.buf = append(h.buf, hashSeparator)
}

// flush moves the buffer into the digest.
func (h *SeriesHash) flush() {
	if !h.spilled {
		h.digest.Reset()
		h.spilled = true
	}
	_, _ = h.digest.Write(h.buf) // never fails
	h.buf = h.buf[:0]
}
