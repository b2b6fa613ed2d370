package sortedsets

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// MergeSeries makes one series of several with the same labels, which it keeps.
// Its chunks are theirs, ordered by MinTime then MaxTime, each once though
// several may hold it, as a head and the block cut from it do. Chunks that
// overlap but differ stay as they are: to cut them up means to decode and encode
// them, which the reader of the samples need not pay for, as it merges by
// timestamp anyway.
//
// What the series has lost, see package extlabels, is what the first has.
func MergeSeries(all []storage.ChunkSeries) storage.ChunkSeries {
	if len(all) == 1 {
		return all[0]
	}
	return mergedSeries(all)
}

type mergedSeries []storage.ChunkSeries

// Labels of the series.
func (s mergedSeries) Labels() labels.Labels { return s[0].Labels() }

// Memory is about what all of them take, as far as they say.
func (s mergedSeries) Memory() (n int64) {
	for _, series := range s {
		n += Memory(series)
	}
	return n
}

// Memory is about how many bytes whoever keeps a series keeps with it. A series
// tells by a method of that name, which one that wraps another has, too, for its
// chunks may be in memory. Of one that does not tell the labels count.
func Memory(series storage.ChunkSeries) int64 {
	if m, ok := series.(interface{ Memory() int64 }); ok {
		return m.Memory()
	}
	return int64(series.Labels().ByteSize())
}

// Removed returns the labels that the series has lost, if it is known.
func (s mergedSeries) Removed() (lost labels.Labels, known bool) { return Removed(s[0]) }

// Removed returns the labels that a series has lost to the wish to read it
// without them, if it is known: a series tells by a method of that name.
func Removed(series storage.ChunkSeries) (lost labels.Labels, known bool) {
	if r, ok := series.(interface{ Removed() (labels.Labels, bool) }); ok {
		return r.Removed()
	}
	return labels.EmptyLabels(), false
}

// Iterator over the chunks of all.
func (s mergedSeries) Iterator(it chunks.Iterator) chunks.Iterator {
	m, ok := it.(*mergedChunks)
	if !ok {
		m = &mergedChunks{}
	}
	m.collect(s)
	return m
}

// mergedChunks has the chunks of several series in order.
type mergedChunks struct {
	part chunks.Iterator // to be used again
	list []chunks.Meta
	next int
	err  error
}

func (m *mergedChunks) collect(all []storage.ChunkSeries) {
	m.list, m.next, m.err = m.list[:0], 0, nil
	for _, series := range all {
		m.part = series.Iterator(m.part)
		for m.part.Next() {
			m.list = append(m.list, m.part.At())
		}
		if m.err = m.part.Err(); m.err != nil {
			m.list = m.list[:0] // in what order, without the rest, nobody can tell
			return
		}
	}
	m.list = Chunks(m.list)
}

// Chunks returns the chunks in order of MinTime then MaxTime, each once. It changes
// list.
func Chunks(list []chunks.Meta) []chunks.Meta {
	if apart(list) {
		return list
	}
	slices.SortStableFunc(list, compareTimes)
	kept, begin := list[:0], 0 // begin is the first kept one with the latest times
	for _, chunk := range list {
		if begin < len(kept) && compareTimes(kept[begin], chunk) != 0 {
			begin = len(kept)
		}
		if !slices.ContainsFunc(kept[begin:], func(k chunks.Meta) bool { return SameChunk(k, chunk) }) {
			kept = append(kept, chunk)
		}
	}
	return kept
}

// apart tells whether each chunk begins later than the one before.
func apart(list []chunks.Meta) bool {
	for i := 1; i < len(list); i++ {
		if list[i-1].MinTime >= list[i].MinTime {
			return false
		}
	}
	return true
}

func (m *mergedChunks) Next() bool {
	if m.next == len(m.list) {
		return false
	}
	m.next++
	return true
}

func (m *mergedChunks) At() chunks.Meta { return m.list[m.next-1] }
func (m *mergedChunks) Err() error      { return m.err }

func compareTimes(a, b chunks.Meta) int {
	return cmp.Or(cmp.Compare(a.MinTime, b.MinTime), cmp.Compare(a.MaxTime, b.MaxTime))
}

// SameChunk tells whether two chunks hold the same, without decoding them: they
// have the same times and bytes. Both may lack their bytes.
func SameChunk(a, b chunks.Meta) bool {
	if compareTimes(a, b) != 0 || (a.Chunk == nil) != (b.Chunk == nil) {
		return false
	}
	return a.Chunk == nil || a.Chunk.Encoding() == b.Chunk.Encoding() && bytes.Equal(a.Chunk.Bytes(), b.Chunk.Bytes())
}
