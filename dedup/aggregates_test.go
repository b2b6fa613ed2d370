package dedup

import "testing"

// windows are the counts of raw samples in windows of five minutes, as a
// downsampled block has them: at the end of each window, but of a block's last at
// its last raw sample, which is the replica's own.
func windows(n int, lastRaw int64, lacks func(window int) bool) (list []point) {
	const (
		resolution = 300_000
		perBlock   = 24
	)
	for i := range n {
		t := int64(i+1)*resolution - 1
		if i%perBlock == perBlock-1 {
			t -= lastRaw
		}
		if !lacks(i) {
			list = append(list, point{t: t, v: float64(20 + i%3)})
		}
	}
	return list
}

// What a store makes of the counts and sums of downsampled blocks comes out once
// for each window, whatever replica it is from.
func TestMergeCountsNoAggregateTwice(t *testing.T) {
	const n = 240
	lacks := func(from, to int) func(int) bool {
		return func(window int) bool { return window >= from && window < to }
	}
	for _, gap := range []struct{ from, to int }{{50, 60}, {47, 48}, {48, 50}, {71, 73}, {23, 24}} {
		first := windows(n, 4_000, lacks(gap.from, gap.to))
		second := windows(n, 11_000, lacks(100, 130))
		orders([][]point{first, second}, func(replicas ...[]point) {
			seen := map[int64]float64{}
			for _, p := range merged(t, replicas...) {
				window := p.t / 300_000
				if _, twice := seen[window]; twice {
					t.Errorf("with %v missing, window %d is there twice", gap, window)
				}
				seen[window] = p.v
			}
			for i := range int64(n) {
				if want := float64(20 + i%3); seen[i] != want {
					t.Errorf("with %v missing, window %d counts %g, want %g", gap, i, seen[i], want)
				}
			}
		})
	}
}
