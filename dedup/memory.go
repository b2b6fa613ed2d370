package dedup

import "github.com/varve-tsdb/varve/internal/sortedsets"

// Memory is about what the replicas take, for readers that keep the series.
func (s *mergedSeries) Memory() (n int64) {
	for _, replica := range s.replicas {
		n += sortedsets.Memory(replica)
	}
	return n
}
