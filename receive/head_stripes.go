package receive

import (
	"math/bits"
	"os"
	"path/filepath"
)

const (
	// fewestStripes and mostStripes bound the lock stripes of a head's series
	// map. Each is two maps of their own: while they hold no more than eight
	// series, finding one by reference takes a fifth less of an append. The most is
	// the TSDB's own default, which costs 4 MiB; the fewest cost 8 KiB, and the maps
	// of a hundred series in them another 9.
	fewestStripes, mostStripes = 32, 16 << 10
	// seriesPerStripe is how many series a stripe should have at most.
	seriesPerStripe = 8
)

// stripesFor returns the number of lock stripes of a head that is opened beside
// others, of which the given number of series is known. A head cannot be given
// more later, so the first ones get what a million series want: where there are few
// tenants they are large. Each gets half of the one before, so that all together
// take no more than 8 MiB beyond what their series want.
func stripesFor(others int, series uint64) int {
	wanted := mostStripes
	if series < seriesPerStripe*mostStripes {
		wanted = 1 << bits.Len64(series/seriesPerStripe)
	}
	return min(mostStripes, max(fewestStripes, wanted, mostStripes>>min(others, 32)))
}

// seriesBefore returns how many series the newest block has, which is about as
// many as the tenant will have again, or zero if there is none.
func (h *head) seriesBefore() uint64 {
	entries, _ := os.ReadDir(h.dir) // By name, and so by time.
	for i := len(entries) - 1; i >= 0; i-- {
		if meta, ok := readMeta(filepath.Join(h.dir, entries[i].Name())); ok {
			return meta.Stats.NumSeries
		}
	}
	return 0
}
