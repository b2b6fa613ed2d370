package storeapi

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// What has come of another process is in memory, and counts for who keeps it.
func TestSeriesOfAServerSayWhatTheyTake(t *testing.T) {
	const n = 50
	metas := make([]chunks.Meta, n)
	for i := range metas {
		metas[i] = chunks.Meta{MinTime: int64(i), MaxTime: int64(i), Chunk: longChunk}
	}
	client := over(t, &fixed{series: []storage.ChunkSeries{series(labels.FromStrings("a", "b"), metas...)}}, way{})
	q, err := client.ChunkQuerier(0, n)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil)
	if !set.Next() {
		t.Fatal(set.Err())
	}
	if got := sortedsets.Memory(set.At()); got < int64(n*len(longChunk.Bytes())) {
		t.Errorf("%d chunks of %d bytes say they take %d", n, len(longChunk.Bytes()), got)
	}
}
