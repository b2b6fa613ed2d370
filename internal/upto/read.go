package upto

import (
	"errors"
	"fmt"
	"io"
	"runtime"
)

// firstGuess is how much is allocated before anything has arrived.
const firstGuess = 4 << 20

// Read reads n bytes, or fewer if r ends. What it allocates follows what arrives,
// since n may be a broken object's claim. Between reads it lets other goroutines
// run, so that large ranges side by side do not keep small ones waiting.
func Read(r io.Reader, n int64) ([]byte, error) {
	b := make([]byte, 0, min(n, firstGuess))
	for int64(len(b)) < n {
		if len(b) == cap(b) {
			grown := make([]byte, len(b), min(n, 2*int64(cap(b))))
			copy(grown, b)
			b = grown
		}
		m, err := r.Read(b[len(b):min(int64(cap(b)), n)])
		b = b[:len(b)+m]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("after %d of %d bytes: %w", len(b), n, err)
		}
		runtime.Gosched()
	}
	return b, nil
}
