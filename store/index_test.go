package store

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-tsdb/varve/block"
)

// A block that the index names and the bucket no longer has costs the read that
// finds it out what it held. Later ones do not believe the index, until it is
// reconciled.
func TestIndexNamesBlockThatIsGone(t *testing.T) {
	bkt, middle := threeBlocks(t)
	reconcile(t, bkt)
	if err := block.Delete(t.Context(), bkt, middle); err != nil {
		t.Fatal(err)
	}
	b := openOver(t, bkt, t.TempDir(), Options{})

	_, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one"))
	var fault *BlockError
	if !errors.As(err, &fault) || fault.Block != middle || !errors.Is(err, ErrReplaced) || !fault.Retryable() {
		t.Errorf("error %v, want a BlockError of %s that tells to try again", err, middle)
	}
	const without = `{__name__="one", cluster="eu"} 0:0 50:1 200:200 250:201` + "\n"
	for range 2 {
		if diff := cmp.Diff(without, mustRead(t, b, 0, 299, equal("__name__", "one"))); diff != "" {
			t.Errorf("the next answer (-want +got):\n%s", diff)
		}
		mustSync(t, b, 1)
	}

	reconcile(t, bkt)
	mustSync(t, b, 1)
	if diff := cmp.Diff(without, mustRead(t, b, 0, 299, equal("__name__", "one"))); diff != "" {
		t.Errorf("after the index was reconciled (-want +got):\n%s", diff)
	}
}

// By the index answers are those of a bucket that is listed, and NoIndex sees
// what the index does not know yet.
func TestIndexGivesTheSameAnswers(t *testing.T) {
	bkt, middle := threeBlocks(t)
	dirs := [2]string{t.TempDir(), t.TempDir()}
	listed := openOver(t, bkt, dirs[0], Options{NoIndex: true})
	reconcile(t, bkt)
	indexed := openOver(t, bkt, dirs[1], Options{})
	want := mustRead(t, listed, 0, 299)
	if diff := cmp.Diff(want, mustRead(t, indexed, 0, 299)); diff != "" {
		t.Errorf("by a list and by the index (-want +got):\n%s", diff)
	}
	if err := block.Delete(t.Context(), bkt, middle); err != nil {
		t.Fatal(err)
	}
	mustSync(t, listed, 1)
	mustSync(t, indexed, 1)
	if l, i := len(listed.set.streams[0].blocks), len(indexed.set.streams[0].blocks); l != 2 || i != 3 {
		t.Errorf("%d blocks by a list, %d by the index, want 2 and 3", l, i)
	}
}
