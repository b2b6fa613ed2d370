package objstoretest_test

import (
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func TestRecorder(t *testing.T) {
	ctx := t.Context()
	b := objstoretest.NewRecorder(objstoretest.NewMemory())
	_ = put(ctx, b, "dir/object", "0123456789")
	_, _ = get(ctx, b, "dir/object")
	rc, err := b.GetRange(ctx, "dir/object", 2, 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(rc, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	_, _ = b.Exists(ctx, "none")
	_, missing := b.Attributes(ctx, "none")
	_ = b.Iter(ctx, "dir", func(string) error { return nil })
	_ = b.Delete(ctx, "dir/object")

	want := []objstoretest.Operation{
		{Op: "upload", Name: "dir/object", Len: -1, Bytes: 10},
		{Op: "get", Name: "dir/object", Len: -1, Bytes: 10},
		{Op: "get_range", Name: "dir/object", Off: 2, Len: 5, Bytes: 3},
		{Op: "exists", Name: "none", Len: -1},
		{Op: "attributes", Name: "none", Len: -1, Err: missing},
		{Op: "iter", Name: "dir", Len: -1},
		{Op: "delete", Name: "dir/object", Len: -1},
	}
	if diff := cmp.Diff(want, b.Log(), cmpopts.EquateErrors()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("upload dir/object\nget_range dir/object 2+5\ndelete dir/object\n",
		b.Lines(objstore.OpUpload, objstore.OpGetRange, objstore.OpDelete)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	b.Reset()
	if got := b.Lines(); got != "" {
		t.Errorf("log after Reset: %s", got)
	}
}
