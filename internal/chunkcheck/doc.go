// Package chunkcheck looks at the data of chunks before anybody reads their
// samples. Prometheus' iterators take a chunk's word for how much there is in it,
// and panic or ask for memory where it lies; chunks that come from a bucket or a
// peer may.
package chunkcheck
