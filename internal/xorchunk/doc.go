// Package xorchunk decodes the XOR chunks of floats many samples at a time.
//
// That is what reading history is made of, and what pays for merging replicas:
// sample by sample behind an interface, as chunkenc's own iterator does it,
// decoding takes about twice as long, and comparing a sample with the one before
// several times as long as in a list. BenchmarkDecode prints the ratio.
package xorchunk
