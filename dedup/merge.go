package dedup

import (
	"fmt"
	"math"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// Merge makes one series of replicas of it, as Queryable does when it reads:
// it is the merge function for compaction. All series must have the labels of
// the first; the labels of the result are those. The chunks of the result do
// not overlap and are ordered; those taken over whole are the replicas' own.
//
// The order of the series decides which is followed first. A caller that wants
// the result of a read gives them in the order that the source of the read has;
// storage.NewMergeChunkSeriesSet gives them in any.
//
// Merge reads nothing; each Iterator of the result reads each series once.
// Iterators may be used side by side where those of the series may be. It
// returns nil for no series and the series itself for one.
func Merge(series ...storage.ChunkSeries) storage.ChunkSeries {
	switch len(series) {
	case 0:
		return nil
	case 1:
		return series[0]
	}
	return &mergedSeries{replicas: series}
}

var _ storage.VerticalChunkSeriesMergeFunc = Merge

// mergedSeries is a group of replicas with equal labels.
type mergedSeries struct {
	replicas []storage.ChunkSeries
}

func (s *mergedSeries) Labels() labels.Labels { return s.replicas[0].Labels() }

// Iterator returns the merged chunks. Each reads the replicas once.
func (s *mergedSeries) Iterator(it chunks.Iterator) chunks.Iterator {
	c, ok := it.(*chunkIterator)
	if !ok {
		c = &chunkIterator{}
	}
	c.reset(s.Labels(), s.replicas)
	return c
}

// merger chooses among the samples of replicas, one after the other, for a
// chunkIterator, which writes them, or a sampleIterator, which only shows them.
// merge.go is its main loop, merge_source.go brings chunks into lanes,
// merge_lane.go walks a lane and merge_recall.go looks around it,
// merge_interval.go says what is late, merge_follow.go decides which lane to
// follow and merge_judge.go what fits a counter, and merge_glide.go is the short
// cut while nothing happens. merge_coarsen.go is about histograms of different
// resolutions.
type merger struct {
	labels  labels.Labels
	sources []source
	lanes   []*lane // in the order of sources
	spare   []*lane
	horizon int64 // all chunks that begin by then are in lanes
	beyond  int64 // when the first chunk that is not in a lane begins

	lane     *lane  // the one that is followed
	followed int    // lanes that have been followed so far
	away     bool   // whether there may be a lane to come back to
	began    bool   // whether anything was emitted
	lastT    int64  // of the last emitted sample
	last     sample // the last emitted one that is no stale marker, if known
	ended    bool   // whether the last emitted one was a stale marker
	drop     drop   // the last fall of the emitted values, as far as known
	d        int64  // ms, cached interval; 0 when it must be found anew
	dUntil   int64  // until lastT comes to this, when a lane is back
	glide    glide

	// Changes from one sample to the next within replicas, which tell counters
	// from gauges.
	rises, falls int

	found   found
	jumped  bool        // the sample found does not follow its predecessor in its own replica
	whole   chunks.Meta // the chunk found
	enc     *encoder    // that writes what is found; nil if nothing does
	empty   chunks.Meta // one without samples, given out if there is nothing else
	reader  sampleReader
	scratch samples
	done    bool
	err     error
}

// found is what a step came to.
type found int

const (
	nothing   found = iota
	oneSample       // the current one of the followed lane, which stays there until the next step
	oneChunk        // of the followed lane, undecoded
)

// reset makes m new for replicas that are opened afterwards.
func (m *merger) reset(lset labels.Labels, enc *encoder) {
	for _, l := range m.lanes {
		l.reinit(m, 0)
		m.spare = append(m.spare, l)
	}
	clear(m.lanes)
	*m = merger{
		labels: lset, sources: m.sources, lanes: m.lanes[:0], spare: m.spare,
		horizon: never, beyond: never, lastT: never, drop: noDrop(),
		enc: enc, reader: m.reader, scratch: m.scratch,
	}
	if counterName(lset.Get(model.MetricNameLabel)) {
		m.rises = namedCounter
	}
}

// fail keeps the first error.
func (m *merger) fail(err error) {
	if m.err == nil && err != nil {
		m.err = fmt.Errorf("deduplicate series %s: %w", m.labels, err)
	}
}

// step emits a sample or a whole chunk, or finds out a bit more about what is
// to be emitted next, or that nothing is left.
func (m *merger) step() {
	if m.found == oneSample {
		m.lane.advance()
	}
	m.found = nothing
	if m.lane == nil {
		m.begin()
		return
	}
	l := m.lane
	if m.began {
		l.drain(m.lastT) // nothing, unless a source's chunk times lie
	}
	if !l.open {
		m.need(m.after(2, 1))
		if m.passable(l) {
			m.pass(l)
			return
		}
	}
	if l.ready() && !l.cur.stale && (!m.began || l.cur.t > m.lastT && !m.late(m.lastT, l.cur.t)) {
		if !m.comeBack() {
			m.emit(l)
		}
		return
	}
	if m.err == nil {
		m.leave()
	}
}

// begin chooses the lane to start with: the first in order that begins no more
// than an interval later than the earliest.
func (m *merger) begin() {
	t, ok := m.nextStart()
	if !ok {
		m.done = true
		return
	}
	m.need(t)
	for next, ok := m.nextStart(); ok && m.interval() == 0; next, ok = m.nextStart() {
		m.need(next)
	}
	m.need(later(t, m.interval(), 1, 1))
	for _, l := range m.lanes {
		if start, ok := l.start(); ok && start <= later(t, m.interval(), 1, 1) {
			m.follow(l)
			return
		}
	}
}

// passable reports whether the next chunk of l, which is followed, has its
// range to itself, so that it can be taken over undecoded.
func (m *merger) passable(l *lane) bool {
	if len(l.queue) == 0 || l.finest < anySchema {
		return false
	}
	meta := l.queue[0]
	if m.began && meta.MinTime <= m.lastT || meta.MaxTime == math.MaxInt64 {
		return false
	}
	m.need(meta.MaxTime)
	for _, o := range m.lanes {
		if o == l {
			continue
		}
		if m.began {
			m.fallBehind(o)
		}
		if start, ok := o.start(); ok && start <= meta.MaxTime {
			return false
		}
	}
	return true
}

// fallBehind drops what o, which is not followed, has up to the last emitted
// sample: decoding it if that may be the way back to o, else only whole chunks.
func (m *merger) fallBehind(o *lane) {
	if m.away && m.missed(o) {
		o.drain(m.lastT)
	}
	o.prune(m.lastT)
}

// pass emits the next chunk of l undecoded.
func (m *merger) pass(l *lane) {
	meta := l.pop()
	l.leap(meta)
	l.adjacent = true
	if m.enc != nil {
		m.fail(m.enc.pass(meta))
	}
	m.found, m.jumped, m.whole = oneChunk, false, meta
	m.began, m.lastT, m.last, m.ended = true, meta.MaxTime, sample{}, false
	m.d = 0
}

// emit gives out the next sample of l, and follows l from here on.
func (m *merger) emit(l *lane) {
	m.limit(l)
	if l != m.lane {
		m.follow(l)
	}
	s := l.cur
	if fell(m.last, s) {
		m.drop = dropBetween(m.last, s)
	}
	if m.enc != nil {
		m.fail(m.enc.take(l))
	}
	m.found, m.jumped = oneSample, !l.adjacent
	m.began, m.lastT, m.ended = true, s.t, s.stale
	if !s.stale {
		m.last = s
		m.last.schema = min(s.schema, l.finest)
	}
	l.adjacent = true
	m.startGlide()
}
