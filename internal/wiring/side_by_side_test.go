package wiring

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store"
)

// TestSelectorsAndBlocksAreReadSideBySide holds every read of chunks back until
// those of all selectors of a query, in all blocks, have been begun.
func TestSelectorsAndBlocksAreReadSideBySide(t *testing.T) {
	const blocks, selectors = 3, 4
	memory := objstoretest.NewMemory()
	for i := range int64(blocks) {
		b := blocktest.Block{External: labels.FromStrings("replica", "a")}
		for s := range selectors {
			b.Series = append(b.Series, blocktest.Series{
				Labels:  labels.FromStrings("__name__", fmt.Sprintf("metric_%d", s)),
				Samples: blocktest.Floats(i*1000, i*1000+1000, 10, 1),
			})
		}
		blocktest.Put(t, memory, b)
	}
	for _, cached := range []bool{false, true} {
		t.Run(fmt.Sprintf("cached %v", cached), func(t *testing.T) {
			faulty := objstoretest.NewFaulty(memory)
			log := objstoretest.NewRecorder(faulty)
			var bkt objstore.Bucket = log
			if cached {
				var err error
				if bkt, err = cache.New(log, cache.Options{}); err != nil {
					t.Fatal(err)
				}
			}
			hist, err := store.Open(bkt, t.TempDir(), store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer hist.Close()
			if err := hist.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			release := make(chan struct{})
			faulty.Set(objstoretest.Rule{Op: objstore.OpGetRange, Name: "chunks", Fault: objstoretest.Hold(release)})
			all := query.NewFanout([]storage.ChunkQueryable{hist}, query.FanoutOptions{})
			source := query.Samples(dedup.New(all, dedup.Options{ReplicaLabels: []string{"replica"}}))
			asked, err := newEngine(t, 0).NewRangeQuery(t.Context(), source, nil, `metric_0 + rate(metric_1[1s]) - (metric_2 or max_over_time(metric_3[1s]))`,
				time.UnixMilli(0), time.UnixMilli(2999), 100*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			defer asked.Close()
			done := make(chan error, 1)
			go func() { done <- asked.Exec(t.Context()).Err }()
			// The selectors' chunks are in one page: with a cache one read of each
			// block serves all.
			want := blocks * selectors
			if cached {
				want = blocks
			}
			eventually(t, func() error {
				n := 0
				for _, o := range log.Log() {
					if o.Op == objstore.OpGetRange && strings.Contains(o.Name, "chunks") {
						n++
					}
				}
				if n != want {
					return fmt.Errorf("%d reads of chunks were begun at once, want %d", n, want)
				}
				return nil
			})
			close(release)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
