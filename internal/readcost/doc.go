// Package readcost keeps, for one read, what it costs and what it may cost. A
// Cost travels in the context of the read: stores note in it what they fetch and
// how long that takes, and ask it for the memory they are about to use; whoever
// keeps what was read asks it, too. Budget has the limits, and the memory that
// all reads of a process share.
//
// Prometheus' interfaces have no room for either, and one value in the context
// beats a parameter on every layer in between. Hosts reach the types as those of
// package query and of package store.
//
// # What is counted
//
// Memory is counted where it is allocated in proportion to the answer: postings,
// index entries, series, chunks, and what a reader keeps of them. Fixed costs,
// headers and caches are not: they have limits of their own. Figures are bytes of
// the Go heap as they were measured, rounded up, so that what is in use stays
// below the limit and refusals come early rather than late.
//
// What was taken is given back by whoever took it, or at the latest when the
// Cost is closed. After the first refusal a Cost refuses everything, with the
// same error: a query that will fail must not go on to read.
package readcost
