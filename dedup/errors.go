package dedup

import "errors"

var (
	// ErrEncoding is wrapped by the error of a chunk that dedup cannot decode,
	// such as the aggregates of a downsampled block. Whoever reads those turns
	// them into plain samples first.
	ErrEncoding = errors.New("chunk encoding is not known to dedup")

	// ErrChunkOrder is wrapped by the error of a source whose chunks of one
	// series do not come in the order of their first timestamps.
	ErrChunkOrder = errors.New("chunks are out of order")

	// ErrCorrupt is wrapped by the error of a chunk that is missing or too
	// short to be one.
	ErrCorrupt = errors.New("chunk is corrupt")

	// errClosed is the answer of a querier that was closed.
	errClosed = errors.New("deduplicate: the querier is closed")
)
