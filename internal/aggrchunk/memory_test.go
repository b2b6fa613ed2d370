package aggrchunk_test

import (
	"testing"

	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// heavy is a series that says what it takes.
type heavy struct{ storage.ChunkSeries }

func (heavy) Memory() int64 { return 1 << 20 }

// What resolutions and counters are made of counts, whoever keeps the series.
func TestSeriesSayWhatTheyTake(t *testing.T) {
	raw := rawChunks(t, blocktest.Floats(0, 100, 10, 0), 10)
	for name, wrap := range map[string]func(storage.ChunkSeriesSet) storage.ChunkSeriesSet{
		"counters": aggrchunk.Counters, "finest first": aggrchunk.FinestFirst,
	} {
		inner := one(raw).(*oneSeries)
		inner.series = heavy{inner.series}
		set := wrap(inner)
		if !set.Next() {
			t.Fatalf("%s: no series", name)
		}
		if got := sortedsets.Memory(set.At()); got < 1<<20 {
			t.Errorf("%s: a series of 1 MiB says it takes %d bytes", name, got)
		}
	}
}
