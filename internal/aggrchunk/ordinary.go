package aggrchunk

import (
	"slices"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// Open makes a chunk of a slot's data, which it may keep, and checks what needs
// to be checked before somebody iterates.
type Open func(enc chunkenc.Encoding, data []byte) (chunkenc.Chunk, error)

// Ordinary returns ordinary chunks with the wanted aggregates of c, whose times
// are those of m: one aggregate, or Count and Sum for the average. There are none
// if an aggregate is absent, as the minimum of histograms is. A counter of floats
// comes back as a *Chunk, for Counters.
func Ordinary(m chunks.Meta, c *Chunk, wanted []Aggregate, open Open) ([]chunks.Meta, error) {
	var parts []chunkenc.Chunk
	for _, a := range wanted {
		s, ok := c.Slot(a)
		if !ok {
			return nil, nil
		}
		chunk, err := open(s.Encoding, s.Data)
		if err != nil {
			return nil, err
		}
		parts = append(parts, chunk)
	}
	switch {
	case len(wanted) == 2 && slices.Contains(wanted, Count) && slices.Contains(wanted, Sum):
		return average(parts[slices.Index(wanted, Count)], parts[slices.Index(wanted, Sum)])
	case len(wanted) != 1:
		return nil, corrupt("nothing is the combination of %v", wanted)
	case wanted[0] == Counter && parts[0].Encoding() == chunkenc.EncXOR:
		m.Chunk = c
	default:
		m.Chunk = parts[0]
	}
	return []chunks.Meta{m}, nil
}

// average divides the sums by the counts.
func average(count, sum chunkenc.Chunk) (averages []chunks.Meta, err error) {
	defer guard(&err)
	var e encoder
	counts, sums := count.Iterator(nil), sum.Iterator(nil)
	for {
		n, of := counts.Next(), sums.Next()
		switch {
		case n == chunkenc.ValNone && of == chunkenc.ValNone:
			if err := counts.Err(); err != nil {
				return nil, corrupt("count: %v", err)
			}
			if err := sums.Err(); err != nil {
				return nil, corrupt("sum: %v", err)
			}
			return e.finish(), nil
		case n != chunkenc.ValFloat || of == chunkenc.ValNone || counts.AtT() != sums.AtT():
			return nil, corrupt("counts and sums are not of the same times")
		}
		_, divisor := counts.At()
		if of == chunkenc.ValFloat {
			t, v := sums.At()
			err = e.float(chunkenc.EncXOR, 0, t, v/divisor)
		} else {
			t, h := sums.AtFloatHistogram(nil)
			err = e.floatHistogram(chunkenc.EncFloatHistogram, 0, t, h.Copy().Div(divisor))
		}
		if err != nil {
			return nil, corrupt("average: %v", err)
		}
	}
}
