package store

import (
	"bytes"
	"testing"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// Once a block has failed, wherever in it that was, and its series before that
// were read, the query holds nothing for it, though it goes on with other blocks.
func TestFailedBlockHoldsNothing(t *testing.T) {
	healthy := objstoretest.NewMemory()
	id := blocktest.Put(t, healthy, wideBlock(3000, 100))
	object := block.ChunksObject(id, 1)
	good := healthy.Objects()[object]
	for _, share := range []int{0, 3, 7} { // tenths of the chunks
		bkt := healthy.Copy()
		broken := bytes.Clone(good)
		for i := 8 + share*(len(broken)-8)/10; i < len(broken); i++ {
			broken[i] ^= 4
		}
		bkt.Put(object, broken)
		budget := budgetOf(t, BudgetOptions{})
		b := openOver(t, bkt, t.TempDir(), Options{Budget: budget, ReadAhead: 1, Quarantine: -1})
		for range 5 { // how far the one ran ahead of the other differs
			q, err := b.ChunkQuerier(0, 1000)
			if err != nil {
				t.Fatal(err)
			}
			set := q.Select(partial(t.Context()), true, nil, equal("cluster", "eu"))
			for set.Next() {
			}
			if err := set.Err(); err != nil || len(set.Warnings()) != 1 {
				t.Errorf("%v, warnings %v", err, set.Warnings().AsErrors())
			}
			if used := budget.InUse(); used != 0 {
				t.Errorf("broken after %d tenths: %d bytes are still in use", share, used)
			}
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
