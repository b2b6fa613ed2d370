package block

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func bucketToDelete() *objstoretest.Memory {
	bkt := objstoretest.NewMemory()
	for _, rel := range []string{
		"chunks/000001", "chunks/000002", "deletion-mark.json", "index", "meta.json", "no-compact-mark.json", "stray/thing",
	} {
		bkt.Put(object(testID(1), rel), []byte(rel))
	}
	bkt.Put(MetaObject(testID(2)), []byte("another block"))
	return bkt
}

func TestDeleteOrder(t *testing.T) {
	mem := bucketToDelete()
	bkt := objstoretest.NewRecorder(mem)
	must(t, Delete(t.Context(), bkt, testID(1)))
	var want string
	for _, rel := range []string{
		"meta.json", "chunks/000001", "chunks/000002", "index", "no-compact-mark.json", "stray/thing", "deletion-mark.json",
	} {
		want += "delete " + object(testID(1), rel) + "\n"
	}
	if diff := cmp.Diff(want, bkt.Lines(objstore.OpDelete)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{MetaObject(testID(2))}, mem.Names()); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	must(t, Delete(t.Context(), bkt, testID(1)))
}

// Objects that stand for directories go last of all.
func TestDeleteDirectoryMarkers(t *testing.T) {
	if !(deleteRank("chunks/") > deleteRank(DeletionMarkFilename) && deleteRank("") > deleteRank(DeletionMarkFilename)) {
		t.Error("a directory marker goes before the deletion mark")
	}
}

// Cut anywhere, a deletion leaves no meta.json behind once it has begun, the
// mark as long as anything else, and can be finished.
func TestDeleteCrash(t *testing.T) {
	for n := 0; ; n++ {
		mem := bucketToDelete()
		crashing := objstoretest.NewCrashing(mem, n)
		err := Delete(t.Context(), crashing, testID(1))
		there, listErr := listBlock(t.Context(), mem, testID(1))
		must(t, listErr)
		if n > 1 && there[MetaFilename] {
			t.Fatalf("cut after %d operations: meta.json is still there", n)
		}
		if len(there) > 0 && !there[DeletionMarkFilename] {
			t.Fatalf("cut after %d operations: %v is left without the mark", n, there)
		}
		if err == nil {
			return
		}
		wantErrorIs(t, err, objstoretest.ErrCrashed)
		wantText(t, err, testID(1).String())
		must(t, Delete(t.Context(), mem, testID(1)))
		if names := mem.Names(); len(names) != 1 {
			t.Fatalf("cut after %d operations and repeated: %v is left", n, names)
		}
	}
}

// Whoever deletes the same block meanwhile does no harm.
func TestDeleteWhatIsGone(t *testing.T) {
	mem := bucketToDelete()
	bkt := objstoretest.NewFaulty(mem)
	bkt.Set(objstoretest.Rule{Op: objstore.OpDelete, Fault: objstoretest.Fail(
		&objstore.Error{Op: objstore.OpDelete, Name: "x", Err: objstore.ErrNotFound})})
	must(t, Delete(t.Context(), bkt, testID(1)))
}
