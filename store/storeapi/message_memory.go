package storeapi

import (
	"errors"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// errUnfolds is a message of which more would be made than a decoder may.
var errUnfolds = errors.New("the message takes too much memory once it is decoded")

// What is made of a message besides the bytes that it has. Slices that grow are up to
// twice as long as they need to be.
const (
	seriesMemory    = 2 * int64(unsafe.Sizeof(receivedSeries{}))
	labelMemory     = 2 * int64(unsafe.Sizeof(labels.Label{}))
	metaMemory      = int64(unsafe.Sizeof(chunks.Meta{}))
	chunkMemory     = 64
	aggregateMemory = 200
)

// unfolding keeps count of what is made of one message: an empty series has two bytes
// in it and takes fifty times as many.
type unfolding struct {
	limit int64             // bytes at most; 0 for any number
	take  func(int64) error // asks for so many more; nil if nobody has to be asked

	made  int64 // of the current message
	taken int64 // of made
}

// unfoldStep is how much is made before it is asked for.
const unfoldStep = 64 << 10

// begin begins a message.
func (u *unfolding) begin() { u.made, u.taken = 0, 0 }

// fits tells whether n more bytes may be made.
func (u *unfolding) fits(n int64) error {
	if u.limit > 0 && u.made+n > u.limit {
		return errUnfolds
	}
	return nil
}

// make counts n more bytes.
func (u *unfolding) make(n int64) error {
	if err := u.fits(n); err != nil {
		return err
	}
	if u.made += n; u.made-u.taken < unfoldStep {
		return nil
	}
	return u.settle()
}

// settle asks for what was not asked for yet.
func (u *unfolding) settle() error {
	n := u.made - u.taken
	u.taken = u.made
	if u.take == nil || n == 0 {
		return nil
	}
	return u.take(n)
}
