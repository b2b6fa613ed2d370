// Package querytest is the conformance suite for anything that holds series:
// every storage.ChunkQueryable of this module passes it, and a host that brings
// its own should run it too.
//
// Run hands the backend under test a Data, a plain description of streams,
// series and samples, asks it questions drawn at random, and compares each
// answer with that of a Model, the simplest possible ChunkQueryable. The answers
// need not be the same bytes: a backend may cut chunks where it likes and may
// return chunks that stick out of the asked range. What must hold is
//
//   - series come in label order, each label set once, external labels included;
//   - a series with a sample in the range is there, one whose samples all lie on
//     one side of the range is not;
//   - chunks come ordered by MinTime, overlap the range, hold nothing outside
//     their MinTime and MaxTime, and their samples, trimmed to the range, are
//     exactly those that were stored, bit for bit;
//   - bounds are inclusive, hints may be nil, may narrow and never widen;
//   - series stay iterable, and iterable again, until the querier is closed;
//   - label names and values are sorted, unique, and cover the range;
//   - queriers work side by side, and a canceled context ends a Select with
//     either an error or a whole answer.
//
// Optional interfaces (Streams, ChunkQuerierWithout, ExemplarQuerier) are tested
// where the backend has them.
//
// # Writing a backend test
//
// The open function stores all of Data and returns the backend:
//
//	func TestConformance(t *testing.T) {
//		querytest.Run(t, querytest.Options{}, func(t *testing.T, data querytest.Data) storage.ChunkQueryable {
//			for sample := range data.ByTime() { ... }
//		})
//	}
//
// Series in Data do not carry the external labels of their stream; some carry a
// label of the same name, over which the external one wins. A backend that only
// takes certain external labels (one label set per tenant, say) names them in
// Options.External. Data.Between cuts Data for backends that hold time slices.
//
// Answers are compared without counter reset hints, which depend on where chunks
// are cut, but the gauge hint must survive; and histograms are compared after
// compaction, since chunks may hold extra empty buckets. Start timestamps are
// not compared.
package querytest
