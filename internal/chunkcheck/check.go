package chunkcheck

import (
	"fmt"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Check returns an error if data cannot be that of a chunk of the encoding, which
// must be one that package chunkenc knows. Samples are not looked at: reading them
// may still end in an error, but does no harm.
func Check(enc chunkenc.Encoding, data []byte) error {
	// A chunk's header: the number of samples, and for all but plain floats a
	// byte of flags. Iterators rely on it.
	least := 3
	if enc == chunkenc.EncXOR {
		least = 2
	}
	if len(data) < least {
		return fmt.Errorf("a chunk has only %d bytes of data", len(data))
	}
	switch enc {
	case chunkenc.EncHistogram, chunkenc.EncFloatHistogram, chunkenc.EncHistogramST, chunkenc.EncFloatHistogramST:
		return checkHistograms(enc, data)
	}
	return nil
}
