package objstoretest_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// TestCrashAtEveryStep does the same work with the crash one step later each
// time.
func TestCrashAtEveryStep(t *testing.T) {
	work := func(b objstore.Bucket) error {
		for _, name := range []string{"index", "chunks", "meta.json"} {
			if err := put(t.Context(), b, name, "content"); err != nil {
				return err
			}
		}
		return b.Delete(t.Context(), "chunks")
	}
	for _, tear := range []bool{false, true} {
		var left []string
		for after := 0; ; after++ {
			memory := objstoretest.NewMemory()
			b := objstoretest.NewCrashing(memory, after)
			if tear {
				b.TearUpload()
			}
			err := work(b)
			var state []string
			for _, name := range memory.Names() {
				state = append(state, name+":"+string(memory.Objects()[name]))
			}
			left = append(left, strings.Join(state, " "))
			if b.Operations() != min(after, 4) {
				t.Errorf("%d operations with a crash after %d", b.Operations(), after)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, objstoretest.ErrCrashed) || !b.Crashed() {
				t.Fatalf("crash after %d: %v", after, err)
			}
			if err := put(t.Context(), b, "later", "x"); !errors.Is(err, objstoretest.ErrCrashed) {
				t.Errorf("an upload after the crash: %v", err)
			}
		}
		want := []string{
			"",
			"index:content",
			"chunks:content index:content",
			"chunks:content index:content meta.json:content",
			"index:content meta.json:content",
		}
		if tear {
			want[0] = "index:con"
			want[1] = "chunks:con index:content"
			want[2] = "chunks:content index:content meta.json:con"
		}
		if diff := cmp.Diff(want, left); diff != "" {
			t.Errorf("tear=%v: what is left after a crash at each step (-want +got):\n%s", tear, diff)
		}
	}
}

func TestCrashCutsWhatIsUnderWay(t *testing.T) {
	ctx := t.Context()
	memory := objstoretest.NewMemory()
	memory.Put("object", []byte("0123456789"))
	b := objstoretest.NewCrashing(memory, -1)

	rc, err := b.Get(ctx, "object")
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if _, err := io.ReadFull(rc, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}

	// The crash comes while an upload reads.
	err = b.Upload(ctx, "new", io.MultiReader(strings.NewReader("x"), crasher{b}, strings.NewReader("y")))
	if !errors.Is(err, objstoretest.ErrCrashed) {
		t.Errorf("upload during the crash: %v", err)
	}
	if _, err := io.ReadAll(rc); !errors.Is(err, objstoretest.ErrCrashed) {
		t.Errorf("reading on after the crash: %v", err)
	}
	if diff := cmp.Diff([]string{"object"}, memory.Names()); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}

type crasher struct{ b *objstoretest.Crashing }

func (c crasher) Read([]byte) (int, error) {
	c.b.Crash()
	return 0, io.EOF
}
