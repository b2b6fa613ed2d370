package dedup

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// heavy is a series that says what it takes.
type heavy struct{ storage.ChunkSeries }

func (heavy) Memory() int64 { return 1 << 20 }

func TestMergedSeriesSaysWhatItTakes(t *testing.T) {
	one := seriesOf(labels.FromStrings("a", "b"))
	if got := sortedsets.Memory(Merge(heavy{one}, heavy{one}, one)); got < 2<<20 || got > 2<<20+100 {
		t.Errorf("three replicas, two of them of 1 MiB, say they take %d bytes", got)
	}
}
