// Package extlabels shows a querier of one stream from outside the stream.
//
// A head or a block stores series without the external labels of its stream
// and without a thought for replica labels. Readers want the external labels
// on every series, want matchers on them to work, may want some labels gone
// (the replica labels, for dedup), and always want the series sorted by the
// labels they see. NewChunkQuerier does all of it, for heads and blocks alike.
//
// # Order
//
// Adding the same labels E to every series nearly keeps the order. Let A sort
// before B, neither containing a name of E. If they differ at some label both
// have, that label decides after the addition too. The one other case is that
// A is a strict prefix of B: then B's next name, b, is met by what follows in
// A, which is the first name of E greater than b if there is one. So B moves
// before A exactly if b is less than the greatest name of E.
//
// All extensions of A follow A without a gap in sorted order. A stack of the
// series that may still be overtaken, each a prefix of the next, therefore
// restores the order while streaming: before a series B is pushed, everything
// on top that B cannot overtake is popped, and comes out sorted. The stack is
// as deep as the chain of prefixes, in practice one or two.
//
// Removing a label from the series themselves, or replacing one whose name is
// also an external label, can reorder them in any way. Only if the stored
// series have such a label, which the label names tell, all series of a Select
// are collected and sorted; their chunks are not. Series that are equal then,
// and have lost the same labels, differed only in what an external label has
// replaced. They are one series with the chunks of all, so that a source has
// each label set once.
package extlabels
