// Package sortedsets reads several sorted sets of series as one, for sources
// that are made of several: the tenants of a receiver, the streams of a bucket,
// the blocks of a stream; and several series of equal labels as one.
//
// Prometheus' own storage.NewMergeChunkSeriesSet makes one series of equal label
// sets that come from different sets, always; here the caller says whether,
// because equal label sets may be replicas of each other, which only dedup
// may merge.
package sortedsets
