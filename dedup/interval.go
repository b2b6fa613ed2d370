package dedup

import "math"

// interval estimates the time between a lane's samples as the lower median of
// the last deltas. A mean would be bent by each gap and a minimum by each pair
// of close samples; the median ignores both as long as they are the minority.
type interval struct {
	ring [8]int64 // ms
	n    uint     // deltas seen
	d    int64    // ms, 0 while unknown
}

// observe adds the delta between two successive samples and reports whether the
// estimate changed. Deltas close to it cannot move it enough to matter and count
// as the estimate itself, so regular data costs a compare, or nothing: see keep.
func (iv *interval) observe(delta int64) bool {
	if delta <= 0 {
		return false
	}
	last := &iv.ring[iv.n%uint(len(iv.ring))]
	*last = delta
	iv.n++
	if iv.n > uint(len(iv.ring)) {
		if off := delta - iv.d; off <= iv.d/8 && -off <= iv.d/8 {
			*last = iv.d
			return false
		}
	}
	old := iv.d
	iv.d = iv.median()
	return iv.d != old
}

// keep is observe for n deltas that are close to the estimate.
func (iv *interval) keep(n int) {
	for i := range uint(min(n, len(iv.ring))) {
		iv.ring[(iv.n+i)%uint(len(iv.ring))] = iv.d
	}
	iv.n += uint(n)
}

func (iv *interval) median() int64 {
	var sorted [len(iv.ring)]int64
	n := min(int(iv.n), len(iv.ring))
	for i, delta := range iv.ring[:n] {
		j := i
		for ; j > 0 && sorted[j-1] > delta; j-- {
			sorted[j] = sorted[j-1]
		}
		sorted[j] = delta
	}
	return sorted[(n-1)/2]
}

// later returns t + num/den·d without overflow.
func later(t, d, num, den int64) int64 {
	if d > math.MaxInt64/num {
		return math.MaxInt64
	}
	d = d * num / den
	if t > math.MaxInt64-d {
		return math.MaxInt64
	}
	return t + d
}

// earlier returns t - num/den·d without overflow.
func earlier(t, d, num, den int64) int64 {
	if d > math.MaxInt64/num {
		return math.MinInt64
	}
	d = d * num / den
	if t < math.MinInt64+d {
		return math.MinInt64
	}
	return t - d
}
