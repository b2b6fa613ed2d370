package readcost

// Kind is a part of a block that reads fetch.
type Kind uint8

// The kinds.
const (
	Header Kind = iota // symbols and offsets of postings lists
	Postings
	Series // entries of the index
	Chunks
	kinds
)

// Kinds are all of them.
func Kinds() [kinds]Kind { return [...]Kind{Header, Postings, Series, Chunks} }

// String is the name in reports and metrics.
func (k Kind) String() string {
	return [...]string{"header", "postings", "series", "chunks"}[k]
}

// Step is something that a read spends time on.
type Step uint8

// The steps. Those of a Kind are the fetching of it.
const (
	Waiting Step = iota // for one of the store's slots
	FetchHeader
	FetchPostings
	FetchSeries
	FetchChunks
	Decode
	steps
)

// Steps are all of them.
func Steps() [steps]Step {
	return [...]Step{Waiting, FetchHeader, FetchPostings, FetchSeries, FetchChunks, Decode}
}

// String is the name in reports and metrics.
func (s Step) String() string {
	return [...]string{"waiting", "header", "postings", "series", "chunks", "decode"}[s]
}

// Skip is why a block that was considered was not read.
type Skip uint8

// The reasons.
const (
	SkippedTime        Skip = iota // it does not overlap the range
	SkippedLabels                  // its external labels rule it out
	SkippedResolution              // another resolution answers in its place
	SkippedQuarantined             // it is known to be broken
	SkippedPostings                // no series of it matches
	skips
)

// Skips are all of them.
func Skips() [skips]Skip {
	return [...]Skip{SkippedTime, SkippedLabels, SkippedResolution, SkippedQuarantined, SkippedPostings}
}

// String is the name in reports and metrics.
func (s Skip) String() string {
	return [...]string{"time", "external_labels", "resolution", "quarantined", "no_postings"}[s]
}

// Use is what memory is used for.
type Use uint8

// The uses. What is in flight was read from a block and was not taken yet by who
// asked for it.
const (
	PostingsInFlight Use = iota
	SeriesInFlight
	ChunksInFlight
	Kept // by the reader, such as a PromQL engine, until its query ends
	uses
)

// String says what it is in errors and metrics.
func (u Use) String() string {
	return [...]string{"postings", "series", "chunks", "kept"}[u]
}
