package objstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

var errBroken = errors.New("broken")

// flaky is a bucket with one object "dir/object", 0 to 9, that fails by rule
// and is recorded.
type flaky struct {
	memory   *objstoretest.Memory
	faulty   *objstoretest.Faulty
	recorder *objstoretest.Recorder
	objstore.InstrumentedBucket
}

func newFlaky(t *testing.T, opts objstore.RetryOptions) flaky {
	f := flaky{memory: objstoretest.NewMemory()}
	f.memory.Put("dir/object", []byte("0123456789"))
	f.faulty = objstoretest.NewFaulty(f.memory)
	f.recorder = objstoretest.NewRecorder(f.faulty)
	f.InstrumentedBucket = retrying(t, f.recorder, opts)
	return f
}

// calls are all operations on a bucket that need "dir/object", by name.
func calls(ctx context.Context, b objstore.Bucket) map[string]func() error {
	body := func(rc io.ReadCloser, err error) error {
		if err != nil {
			return err
		}
		_, err = io.ReadAll(rc)
		return errors.Join(err, rc.Close())
	}
	return map[string]func() error{
		"get":        func() error { return body(b.Get(ctx, "dir/object")) },
		"get_range":  func() error { return body(b.GetRange(ctx, "dir/object", 1, 2)) },
		"exists":     func() error { _, err := b.Exists(ctx, "dir/object"); return err },
		"attributes": func() error { _, err := b.Attributes(ctx, "dir/object"); return err },
		"iter":       func() error { return b.Iter(ctx, "dir", func(string) error { return nil }) },
		"iter with attributes": func() error {
			return b.IterWithAttributes(ctx, "dir", func(objstore.IterObjectAttributes) error { return nil })
		},
		"upload": func() error { return b.Upload(ctx, "dir/object", strings.NewReader("0123456789")) },
		"delete": func() error { return b.Delete(ctx, "dir/object") },
	}
}

func TestRetrySucceedsInTheEnd(t *testing.T) {
	for name := range calls(context.Background(), nil) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := prometheus.NewRegistry()
				f := newFlaky(t, objstore.RetryOptions{Registerer: reg})
				f.faulty.Set(objstoretest.Rule{Times: 3, Fault: objstoretest.Fail(errBroken)})
				if err := calls(t.Context(), f)[name](); err != nil {
					t.Fatal(err)
				}
				if n := len(f.recorder.Log()); n != 4 {
					t.Errorf("%d attempts, want 4", n)
				}
				op, _, _ := strings.Cut(name, " ")
				want(t, reg, "varve_objstore_retries_total", map[string]float64{op: 3})
			})
		})
	}
}

func TestRetryGivesUp(t *testing.T) {
	for name := range calls(context.Background(), nil) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFlaky(t, objstore.RetryOptions{MaxAttempts: 3})
				f.faulty.Set(objstoretest.Rule{Fault: objstoretest.Fail(errBroken)})
				err := calls(t.Context(), f)[name]()
				var e *objstore.Error
				if !errors.Is(err, errBroken) || !errors.As(err, &e) || e.Attempts != 3 {
					t.Fatalf("%v; want the cause after 3 attempts", err)
				}
				if !strings.Contains(err.Error(), e.Op+` "dir`) || !strings.Contains(err.Error(), "3 times") {
					t.Errorf("%q does not name operation, object and attempts", err)
				}
				if n := len(f.recorder.Log()); n != 3 {
					t.Errorf("%d attempts, want 3", n)
				}
			})
		})
	}
}

func TestRetryNotWhenFinal(t *testing.T) {
	for what, cause := range map[string]error{
		"not found":     objstore.ErrNotFound,
		"access denied": denied{},
		"invalid":       objstore.ErrInvalid,
		"option":        objstore.ErrOptionNotSupported,
		"canceled":      context.Canceled,
	} {
		t.Run(what, func(t *testing.T) {
			f := newFlaky(t, objstore.RetryOptions{})
			f.InstrumentedBucket = retrying(t, denying{f.recorder}, objstore.RetryOptions{})
			for name, call := range calls(t.Context(), f) {
				f.recorder.Reset()
				f.faulty.Set(objstoretest.Rule{Fault: objstoretest.Fail(&objstore.Error{Op: "x", Name: "y", Err: cause})})
				if err := call(); !errors.Is(err, cause) {
					t.Errorf("%s: %v, want %v", name, err, cause)
				}
				if n := len(f.recorder.Log()); n != 1 {
					t.Errorf("%s: %d attempts, want 1", name, n)
				}
			}
		})
	}
}

type denied struct{}

func (denied) Error() string { return "denied" }

type denying struct{ objstore.Bucket }

func (denying) IsAccessDeniedErr(err error) bool { return errors.Is(err, denied{}) }

func TestRetryStopsWithItsContext(t *testing.T) {
	for name := range calls(context.Background(), nil) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFlaky(t, objstore.RetryOptions{MaxAttempts: 1000, MinBackoff: time.Hour, MaxBackoff: time.Hour})
				f.faulty.Set(objstoretest.Rule{Fault: objstoretest.Fail(errBroken)})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute+10*time.Hour)
				defer cancel()
				began := time.Now()
				err := calls(ctx, f)[name]()
				if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBroken) {
					t.Errorf("%v; want the context's error and the cause", err)
				}
				if took := time.Since(began); took > time.Minute+10*time.Hour {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestRetryBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var longest [8]time.Duration
		for range 300 {
			var at []time.Time
			f := newFlaky(t, objstore.RetryOptions{MaxAttempts: 8, MinBackoff: time.Second, MaxBackoff: 10 * time.Second})
			f.faulty.Set(objstoretest.Rule{
				Match: func(string, string) bool { at = append(at, time.Now()); return true },
				Fault: objstoretest.Fail(errBroken),
			})
			_, _ = f.Exists(t.Context(), "dir/object")
			for i := 1; i < len(at); i++ {
				longest[i] = max(longest[i], at[i].Sub(at[i-1]))
			}
		}
		for i, bound := range []time.Duration{0, 1, 2, 4, 8, 10, 10, 10} {
			bound *= time.Second
			if longest[i] > bound || longest[i] < bound*8/10 {
				t.Errorf("the longest of 300 pauses before attempt %d is %v, want it below and near %v", i+1, longest[i], bound)
			}
		}
	})
}

// TestRetryOfAnInnerTimeout tells the caller's deadline from one that a client
// has of its own.
func TestRetryOfAnInnerTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t, objstore.RetryOptions{})
		f.faulty.Set(objstoretest.Rule{Times: 1, Fault: objstoretest.Fail(context.DeadlineExceeded)})
		if ok, err := f.Exists(t.Context(), "dir/object"); !ok || err != nil {
			t.Fatalf("Exists: %v, %v", ok, err)
		}
	})
}

func TestRetryOfDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t, objstore.RetryOptions{})
		f.faulty.Set(objstoretest.Rule{Times: 1, Fault: objstoretest.Lose(errBroken)})
		if err := f.Delete(t.Context(), "dir/object"); err != nil {
			t.Fatalf("a delete whose first answer was lost: %v", err)
		}
		if err := f.Delete(t.Context(), "dir/object"); !f.IsObjNotFoundErr(err) {
			t.Fatalf("a delete of nothing: %v", err)
		}
	})
}

func TestRetryOfIter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t, objstore.RetryOptions{})
		f.memory.Put("dir/other", nil)

		// The callback's own error is final and comes back as it is.
		var n int
		err := f.Iter(t.Context(), "dir", func(string) error { n++; return errBroken })
		if err != errBroken || n != 1 {
			t.Errorf("callback failed: %v after %d calls", err, n)
		}

		// A list that breaks in the middle would give entries twice.
		b := retrying(t, breakingList{f.memory}, objstore.RetryOptions{})
		var names []string
		err = b.Iter(t.Context(), "dir", func(name string) error { names = append(names, name); return nil })
		var e *objstore.Error
		if !errors.Is(err, errBroken) || !errors.As(err, &e) {
			t.Errorf("list broke: %v", err)
		}
		if diff := cmp.Diff([]string{"dir/object", "dir/other"}, names); diff != "" {
			t.Errorf("entries (-want +got):\n%s", diff)
		}
	})
}

// breakingList fails after the last entry.
type breakingList struct{ *objstoretest.Memory }

func (b breakingList) Iter(ctx context.Context, dir string, f func(string) error, options ...objstore.IterOption) error {
	if err := b.Memory.Iter(ctx, dir, f, options...); err != nil {
		return err
	}
	return errBroken
}

func TestRetryOfUpload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("skipped-content"), 0o666); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	for name, c := range map[string]struct {
		src      io.Reader
		attempts int
		fails    bool
	}{
		"file":     {file, 3, false},
		"bytes":    {bytes.NewReader([]byte("skipped-content")), 3, false},
		"strings":  {strings.NewReader("skipped-content"), 3, false},
		"seeker":   {struct{ io.ReadSeeker }{strings.NewReader("skipped-content")}, 3, false},
		"buffer":   {bytes.NewBufferString("skipped-content"), 1, true},
		"reader":   {struct{ io.Reader }{strings.NewReader("skipped-content")}, 1, true},
		"bad seek": {badSeeker{strings.NewReader("skipped-content")}, 1, true},
	} {
		// An upload starts where its reader is.
		if _, err := io.ReadFull(c.src, make([]byte, len("skipped-"))); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFlaky(t, objstore.RetryOptions{})
				f.faulty.Set(objstoretest.Rule{Times: 1, Fault: objstoretest.Break(3, errBroken)}, objstoretest.Rule{Times: 1, Fault: objstoretest.Fail(errBroken)})
				err := f.Upload(t.Context(), "new", c.src)
				if n := len(f.recorder.Log()); n != c.attempts {
					t.Errorf("%d attempts, want %d", n, c.attempts)
				}
				if c.fails {
					if !errors.Is(err, errBroken) || slices.Contains(f.memory.Names(), "new") {
						t.Errorf("Upload: %v, bucket holds %q", err, f.memory.Names())
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := get(t, t.Context(), f, "new"); got != "content" {
					t.Errorf("stored %q", got)
				}
			})
		})
	}
}

type badSeeker struct{ *strings.Reader }

func (badSeeker) Seek(int64, int) (int64, error) { return 0, errors.New("cannot seek") }

// TestRetryNotOfABadSource has a file that cannot be read: the bucket is not
// at fault.
func TestRetryNotOfABadSource(t *testing.T) {
	f := newFlaky(t, objstore.RetryOptions{})
	err := f.Upload(t.Context(), "new", badSource{strings.NewReader("x")})
	if !errors.Is(err, fs.ErrClosed) || len(f.recorder.Log()) != 1 {
		t.Errorf("%v after %d attempts, want the source's error after one", err, len(f.recorder.Log()))
	}
}

type badSource struct{ *strings.Reader }

func (badSource) Read([]byte) (int, error)               { return 0, fs.ErrClosed }
func (badSource) ReadAt([]byte, int64) (int, error)      { return 0, fs.ErrClosed }
func (badSource) WriteTo(io.Writer) (n int64, err error) { return 0, fs.ErrClosed }

// TestRetryUploadCutsOffTheFirstAttempt has a client that goes on reading after
// it gave up.
func TestRetryUploadCutsOffTheFirstAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := objstoretest.NewMemory()
		late := &lateReader{Memory: memory}
		b := retrying(t, late, objstore.RetryOptions{})
		if err := b.Upload(t.Context(), "object", struct{ io.ReadSeeker }{strings.NewReader("0123456789")}); err != nil {
			t.Fatal(err)
		}
		if got := get(t, t.Context(), b, "object"); got != "0123456789" {
			t.Errorf("stored %q", got)
		}
	})
}

type lateReader struct {
	*objstoretest.Memory
	first io.Reader
}

func (b *lateReader) Upload(ctx context.Context, name string, r io.Reader, opts ...objstore.ObjectUploadOption) error {
	if b.first == nil {
		b.first = r
		return errBroken
	}
	if n, err := b.first.Read(make([]byte, 5)); n != 0 || err == nil {
		return errors.New("the first attempt still reads")
	}
	if _, err := b.first.(io.Seeker).Seek(5, io.SeekStart); err == nil {
		return errors.New("the first attempt still seeks")
	}
	return b.Memory.Upload(ctx, name, r, opts...)
}

func TestRetryOptions(t *testing.T) {
	_, err := objstore.WithRetry(objstoretest.NewMemory(), objstore.RetryOptions{MaxAttempts: -1, MinBackoff: -1, MaxBackoff: -1})
	for _, field := range []string{"MaxAttempts", "MinBackoff", "MaxBackoff"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("error %v does not name %s", err, field)
		}
	}
	if _, err := objstore.WithRetry(objstoretest.NewMemory(), objstore.RetryOptions{MinBackoff: 2, MaxBackoff: 1}); err == nil {
		t.Error("MinBackoff above MaxBackoff was accepted")
	}
	for _, opts := range []objstore.RetryOptions{{MaxBackoff: 1}, {MinBackoff: time.Hour}, {MinBackoff: 1<<63 - 1, MaxBackoff: 1<<63 - 1, MaxAttempts: 2}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFlaky(t, opts)
			f.faulty.Set(objstoretest.Rule{Times: 1, Fault: objstoretest.Fail(errBroken)})
			ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
			defer cancel()
			if _, err := f.Exists(ctx, "dir/object"); err != nil && ctx.Err() == nil {
				t.Errorf("%+v: %v", opts, err)
			}
		})
	}
}
