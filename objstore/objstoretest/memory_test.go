package objstoretest_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func TestMemoryIsACopyOfWhatItIsGiven(t *testing.T) {
	m := objstoretest.NewMemory()
	content := []byte("content")
	m.Put("object", content)
	content[0] = 'X'
	other := m.Copy()
	m.Put("object", []byte("changed"))
	m.Put("new", nil)
	if diff := cmp.Diff(map[string][]byte{"object": []byte("content")}, other.Objects()); diff != "" {
		t.Errorf("copy (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"new", "object"}, m.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestMemorySetModified(t *testing.T) {
	m := objstoretest.NewMemory()
	m.Put("object", nil)
	long := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	m.SetModified("object", long)
	m.SetModified("none", long)
	attrs, err := m.Attributes(t.Context(), "object")
	if err != nil || !attrs.LastModified.Equal(long) {
		t.Errorf("%+v, %v", attrs, err)
	}
	if len(m.Names()) != 1 {
		t.Errorf("SetModified made an object: %q", m.Names())
	}
}
