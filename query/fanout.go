package query

import (
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// FanoutOptions are the settings of a Fanout. The zero value is usable.
type FanoutOptions struct {
	// SourceTimeout is how long a source may take to come up with the next
	// series of a Select, the first included, or with the answer to a question
	// about labels. A source that takes longer has failed. The time a reader
	// takes between series does not count. One that ignores its context is left
	// alone with its call up to its first series; after that, as with the chunks
	// of a series, the read waits until the call returns. Zero and less mean no
	// limit but that of the request, of which the same holds.
	SourceTimeout time.Duration
	// Logger for sources that panic; nil is silent.
	Logger *slog.Logger
}

// Fanout is many ChunkQueryables as one. Its methods may run side by side.
//
// Series come in label order, once each, also if a source has one repeatedly:
// all chunks of a series follow each other ordered by MinTime, each once even if
// several sources have the very same bytes. Chunks that differ but overlap are
// all there; Samples resolves them.
//
// Whether the failure of a source fails the read or becomes a warning is for
// ReadOptions.Partial in the context of the read to say. Either way it is a
// *SourceError. The failure of the request itself, because it was canceled or
// ran out of time, is never a warning.
type Fanout struct {
	opts    FanoutOptions
	sources atomic.Pointer[[]storage.ChunkQueryable]
}

// NewFanout returns a Fanout over sources. The slice is copied.
//
// A source may have the optional interfaces that doc.go lists. One that has
// Streams is only asked when it may have an answer.
func NewFanout(sources []storage.ChunkQueryable, opts FanoutOptions) *Fanout {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Fanout{opts: opts}
	f.SetSources(sources)
	return f
}

// SetSources replaces the sources for queriers opened from now on; those open
// keep theirs. The slice is copied.
func (f *Fanout) SetSources(sources []storage.ChunkQueryable) {
	sources = slices.Clone(sources)
	f.sources.Store(&sources)
}

// Sources returns the current sources. The slice must not be changed.
func (f *Fanout) Sources() []storage.ChunkQueryable { return *f.sources.Load() }

// String names the Fanout in warnings and errors.
func (f *Fanout) String() string { return fmt.Sprintf("fanout of %d", len(f.Sources())) }

// Streams yields each set of external labels that some source holds, with the
// range of times, in milliseconds and inclusive, that holds those of all. A
// source that cannot tell counts as one stream of all times without labels.
func (f *Fanout) Streams(yield func(external labels.Labels, mint, maxt int64) bool) {
	var all []stream
	for _, source := range f.Sources() {
		held, _ := streamsOf(source)
		all = append(all, held...)
	}
	for _, s := range union(all) {
		if !yield(s.external, s.mint, s.maxt) {
			return
		}
	}
}

// ChunkQuerier returns a querier over the sources for the inclusive range
// [mint, maxt] in milliseconds. It never fails: what is wrong with a source
// shows when it is asked.
func (f *Fanout) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return f.querier(mint, maxt, nil, true), nil
}

// ChunkQuerierWithout is like ChunkQuerier, but the named labels are absent
// from all results, series are ordered by what is left, and those that became
// equal, or are in several sources, follow each other unmerged. Matchers see
// the named labels.
func (f *Fanout) ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error) {
	return f.querier(mint, maxt, without, false), nil
}

func (f *Fanout) querier(mint, maxt int64, without []string, merge bool) *fanoutQuerier {
	q := &fanoutQuerier{mint: mint, maxt: maxt, merge: merge, timeout: f.opts.SourceTimeout}
	for i, source := range f.Sources() {
		held, known := streamsOf(source)
		q.sources = append(q.sources, &fanoutSource{
			source: source, name: sourceName(source, i), logger: f.opts.Logger, held: held, known: known,
			mint: mint, maxt: maxt, without: without, strip: !merge,
		})
	}
	return q
}

func sourceName(source storage.ChunkQueryable, i int) string {
	if s, ok := source.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%d (%T)", i, source)
}
