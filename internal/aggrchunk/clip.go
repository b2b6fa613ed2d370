package aggrchunk

import (
	"math"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// ClipStored returns the chunk of aggregates with those of its windows that end from
// from to to, both inclusive; the chunk itself if it does not reach out, and false if
// nothing is left. Its times are then those of the first and the last window.
//
// A counter of floats keeps what it stood at before the first window, as it does at the
// start of every chunk, so that whoever follows it knows where it comes from.
func ClipStored(m chunks.Meta, from, to int64, open Open) (clipped chunks.Meta, ok bool, err error) {
	c, ok := m.Chunk.(*Chunk)
	if !ok || from <= m.MinTime && m.MaxTime <= to {
		return m, ok, nil
	}
	defer guard(&err)
	var kept [slots]Slot
	m.MinTime, m.MaxTime = math.MaxInt64, math.MinInt64
	for a := range Aggregate(slots) {
		s, ok := c.Slot(a)
		if !ok {
			continue
		}
		chunk, err := open(s.Encoding, s.Data)
		if err != nil {
			return m, false, err
		}
		e := &encoder{whole: true}
		if a == Counter && chunk.Encoding() == chunkenc.EncXOR {
			err = e.counter(chunk, from, to)
		} else {
			err = e.between(chunk, from, to)
		}
		if err != nil {
			return m, false, corrupt("%s: %v", a, err)
		}
		some := e.finish()
		switch {
		case len(some) == 0:
			continue
		case len(some) > 1:
			return m, false, corrupt("%s: its samples do not fit into one chunk", a)
		}
		kept[a] = SlotOf(some[0].Chunk)
		m.MinTime, m.MaxTime = min(m.MinTime, max(some[0].MinTime, from)), max(m.MaxTime, some[0].MaxTime)
	}
	m.Chunk = New(kept)
	return m, m.MinTime <= m.MaxTime, nil
}

// between encodes the samples of a chunk from from to to, both inclusive.
func (e *encoder) between(c chunkenc.Chunk, from, to int64) error {
	it := c.Iterator(nil)
	for typ := it.Next(); typ != chunkenc.ValNone && it.AtT() <= to; typ = it.Next() {
		if it.AtT() < from {
			continue
		}
		if err := e.current(c.Encoding(), it, typ); err != nil {
			return err
		}
	}
	return it.Err()
}

// reading is a sample of a counter slot.
type reading struct {
	t int64
	v float64
}

// counter encodes the samples of a counter slot from from to to, both inclusive, with
// the one before and, as the last once more, what the counter really stood at then.
func (e *encoder) counter(c chunkenc.Chunk, from, to int64) error {
	var all []reading
	it := c.Iterator(nil)
	for it.Next() != chunkenc.ValNone {
		t, v := it.At()
		all = append(all, reading{t, v})
	}
	if err := it.Err(); err != nil {
		return err
	}
	first, end := 0, len(all)
	for first < end && all[first].t < from {
		first++
	}
	for end > first && all[end-1].t > to {
		end--
	}
	if first == end {
		return nil
	}
	some := all[max(first-1, 0):end]
	if end < len(all) {
		last := all[end-1]
		some = append(some[:len(some):len(some)], reading{last.t, last.v - lost(all, last.v)})
	}
	for _, r := range some {
		if err := e.float(chunkenc.EncXOR, 0, r.t, r.v); err != nil {
			return err
		}
	}
	return nil
}

// lost is what the resets in a counter slot have taken away up to where it stands at
// v. The slot tells only how much that was in the end; what v has not reached was
// still to come.
func lost(all []reading, v float64) float64 {
	n := len(all)
	if n < 2 || all[n-1].t != all[n-2].t {
		return 0
	}
	if all := all[n-2].v - all[n-1].v; 0 < all && all <= v {
		return all
	}
	return 0
}
