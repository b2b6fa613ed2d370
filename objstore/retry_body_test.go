package objstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func TestBodyResumes(t *testing.T) {
	for name, fault := range map[string]objstoretest.Fault{
		"broken":    objstoretest.Break(4, errBroken),
		"at once":   objstoretest.Break(0, errBroken),
		"truncated": objstoretest.Truncate(3),
		"nothing":   objstoretest.Truncate(0),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFlaky(t, objstore.RetryOptions{})
				f.faulty.Set(objstoretest.Rule{Times: 2, Fault: fault})
				if got := get(t, t.Context(), f, "dir/object"); got != "0123456789" {
					t.Errorf("Get: %q", got)
				}
				f.faulty.Set(objstoretest.Rule{Times: 1, Fault: fault})
				rc, err := f.GetRange(t.Context(), "dir/object", 2, 6)
				if got := read(t, rc, err); got != "234567" {
					t.Errorf("GetRange: %q", got)
				}
				f.faulty.Set(objstoretest.Rule{Times: 1, Fault: fault})
				rc, err = f.GetRange(t.Context(), "dir/object", 5, 100)
				if got := read(t, rc, err); got != "56789" {
					t.Errorf("GetRange beyond the end: %q", got)
				}
			})
		})
	}
}

func TestBodyResumesWhereItBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t, objstore.RetryOptions{})
		f.faulty.Set(objstoretest.Rule{Times: 2, Fault: objstoretest.Break(4, errBroken)})
		rc, err := f.GetRange(t.Context(), "dir/object", 1, -1)
		if n, err := objstore.ObjectSize(rc); n != 9 || err != nil {
			t.Errorf("the body announces %d bytes, %v", n, err)
		}
		read(t, rc, err)
		want := "get_range dir/object 1+\nget_range dir/object 5+5\nget_range dir/object 9+1\n"
		if diff := cmp.Diff(want, f.recorder.Lines()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// TestBodyAgainstAModel breaks bodies at random and reads them in pieces at
// random: what is read is the object, or a part of its beginning and an error.
func TestBodyAgainstAModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		content := make([]byte, 5000)
		for i := range content {
			content[i] = byte(rng.Int())
		}
		var whole int
		for i := range 500 {
			f := newFlaky(t, objstore.RetryOptions{MaxAttempts: 1 + rng.IntN(5)})
			f.memory.Put("object", content)
			var rules []objstoretest.Rule
			for range rng.IntN(6) {
				at := rng.Int64N(3000)
				fault := objstoretest.Break(at, errBroken)
				if rng.IntN(2) == 0 {
					fault = objstoretest.Truncate(at)
				}
				rules = append(rules, objstoretest.Rule{Times: 1, Skip: rng.IntN(2), Fault: fault})
			}
			f.faulty.Set(rules...)
			off := rng.Int64N(5000)
			length := 1 + rng.Int64N(6000)
			want := content[off:min(off+length, 5000)]

			rc, err := f.GetRange(t.Context(), "object", off, length)
			if err != nil {
				t.Fatalf("case %d: %v", i, err)
			}
			var r io.Reader = rc
			switch rng.IntN(3) {
			case 0:
				r = iotest.OneByteReader(rc)
			case 1:
				r = iotest.HalfReader(rc)
			}
			got, err := io.ReadAll(r)
			switch {
			case err == nil && !bytes.Equal(got, want):
				t.Fatalf("case %d: read %d bytes that are not the %d of the object", i, len(got), len(want))
			case err == nil:
				whole++
			case !bytes.HasPrefix(want, got):
				t.Fatalf("case %d: read %d wrong bytes before %v", i, len(got), err)
			case !errors.Is(err, errBroken) && !errors.Is(err, objstore.ErrTruncated):
				t.Fatalf("case %d: %v", i, err)
			}
		}
		if whole < 100 || whole == 500 {
			t.Errorf("%d of 500 bodies came through, which tests little", whole)
		}
	})
}

func TestBodyGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t, objstore.RetryOptions{MaxAttempts: 3})
		for cause, fault := range map[error]objstoretest.Fault{
			errBroken:             objstoretest.Break(1, errBroken),
			objstore.ErrTruncated: objstoretest.Truncate(1),
		} {
			f.recorder.Reset()
			f.faulty.Set(objstoretest.Rule{Fault: fault})
			rc, err := f.Get(t.Context(), "dir/object")
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(rc)
			if string(got) != "012" || !errors.Is(err, cause) || !strings.Contains(err.Error(), `get "dir/object", tried 3 times`) {
				t.Errorf("read %q and %v", got, err)
			}
			if _, again := rc.Read(make([]byte, 1)); !errors.Is(again, cause) {
				t.Errorf("read on after the error: %v", again)
			}
			if n := len(f.recorder.Log()); n != 3 {
				t.Errorf("%d requests, want 3", n)
			}
			if err := errors.Join(rc.Close(), rc.Close()); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
}

func TestBodyOfAnObjectThatChanges(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *objstoretest.Memory)
		want   string
	}{
		"longer":  {func(m *objstoretest.Memory) { m.Put("dir/object", make([]byte, 20)) }, "10"},
		"shorter": {func(m *objstoretest.Memory) { m.Put("dir/object", make([]byte, 7)) }, "changed"},
		"deleted": {func(m *objstoretest.Memory) { _ = m.Delete(context.Background(), "dir/object") }, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFlaky(t, objstore.RetryOptions{})
				f.faulty.Set(objstoretest.Rule{Times: 1, Fault: objstoretest.Break(4, errBroken)})
				rc, err := f.Get(t.Context(), "dir/object")
				if err != nil {
					t.Fatal(err)
				}
				c.change(f.memory)
				got, err := io.ReadAll(rc)
				if name == "longer" {
					// The range that is asked for ends where the object did.
					if err != nil || len(got) != 10 {
						t.Errorf("read %d bytes and %v", len(got), err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("read %q and %v", got, err)
				}
				if name == "deleted" && !f.IsObjNotFoundErr(err) {
					t.Errorf("%v does not count as not found", err)
				}
				if n := len(f.recorder.Log()); n != 2 {
					t.Errorf("%d requests, want 2: trying on is useless", n)
				}
			})
		})
	}
}

// TestLargeBodyHasFreshAttempts reads an object over a line that breaks more
// often than there are attempts, but not within one MiB.
func TestLargeBodyHasFreshAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t, objstore.RetryOptions{MaxAttempts: 2})
		content := bytes.Repeat([]byte("0123456789abcdef"), 8<<16)
		f.memory.Put("large", content)
		f.faulty.Set(objstoretest.Rule{Fault: objstoretest.Break(1<<20+1, errBroken)})
		if got := get(t, t.Context(), f, "large"); got != string(content) {
			t.Errorf("read %d bytes", len(got))
		}
		f.faulty.Set(objstoretest.Rule{Fault: objstoretest.Break(1<<18, errBroken)})
		rc, err := f.Get(t.Context(), "large")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, rc); n != 1<<19 || !errors.Is(err, errBroken) {
			t.Errorf("read %d bytes and %v over a line that is too poor", n, err)
		}
	})
}

func TestBodyOfUnknownSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t, objstore.RetryOptions{})
		b := retrying(t, unsized{f.faulty}, objstore.RetryOptions{})
		f.faulty.Set(objstoretest.Rule{Times: 1, Fault: objstoretest.Break(4, errBroken)})
		if got := get(t, t.Context(), b, "dir/object"); got != "0123456789" {
			t.Errorf("Get: %q", got)
		}
		f.faulty.Set(objstoretest.Rule{Times: 1, Fault: objstoretest.Break(4, errBroken)})
		rc, err := b.GetRange(t.Context(), "dir/object", 1, 4)
		if got := read(t, rc, err); got != "1234" {
			t.Errorf("GetRange: %q", got)
		}
	})
}

// unsized hides how long bodies are.
type unsized struct{ objstore.Bucket }

func (b unsized) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	rc, err := b.Bucket.Get(ctx, name)
	return struct{ io.ReadCloser }{rc}, err
}

func (b unsized) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	rc, err := b.Bucket.GetRange(ctx, name, off, length)
	return struct{ io.ReadCloser }{rc}, err
}

func TestBodyEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t, objstore.RetryOptions{MinBackoff: time.Hour, MaxBackoff: time.Hour, MaxAttempts: 100})
		f.faulty.Set(objstoretest.Rule{Fault: objstoretest.Break(0, errBroken)})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		rc, err := f.Get(ctx, "dir/object")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(rc); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the context's error", err)
		}
		if err := rc.Close(); err != nil {
			t.Error(err)
		}
		if _, err := rc.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("reading a closed body: %v", err)
		}
	})
}

func ExampleWithRetry() {
	memory := objstoretest.NewMemory()
	memory.Put("object", []byte("whole"))
	faulty := objstoretest.NewFaulty(memory)
	faulty.Set(objstoretest.Rule{Op: objstore.OpGet, Times: 1, Fault: objstoretest.Truncate(3)})

	bkt, err := objstore.WithRetry(faulty, objstore.RetryOptions{MaxBackoff: time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	rc, err := bkt.Get(context.Background(), "object")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rc.Close()
	content, err := io.ReadAll(rc)
	fmt.Println(string(content), err)
	// Output: whole <nil>
}
