// Package chunkread reads the samples of chunks, those of floats many at a time.
//
// That is what reading history is made of, and what pays for merging replicas:
// sample by sample behind an interface, as chunkenc's own iterator does it,
// decoding takes about twice as long, as BenchmarkFloats prints.
package chunkread
