// Package blocktest writes small real TSDB blocks for tests: Prometheus' own
// head and compactor make the index and the chunks, and a thanos section makes
// the meta.json that of a block in a bucket. Upload puts such a directory into
// a bucket with the commit point last.
//
// Data goes from a Block value through Write into a directory named by the
// block's ULID, and from there through Upload into a bucket. The two are
// independent of package block, whose tests may therefore use them as an
// oracle.
//
// Only tests may import it: it links the whole of tsdb.
package blocktest
