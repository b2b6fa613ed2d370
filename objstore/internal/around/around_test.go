package around

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pkgerrors "github.com/pkg/errors"
	"github.com/thanos-io/objstore"
)

func TestSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("0123456789"), 0o666); err != nil {
		t.Fatal(err)
	}
	file := func(skip int64) *os.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		if _, err := f.Seek(skip, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		return f
	}
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer w.Close()
	part := strings.NewReader("0123456789")
	if _, err := part.ReadByte(); err != nil {
		t.Fatal(err)
	}
	unknown := struct{ io.Reader }{strings.NewReader("x")}

	for name, c := range map[string]struct {
		r    io.Reader
		want int64 // -1 for unknown
	}{
		"file":             {file(0), 10},
		"file read partly": {file(4), 6},
		"file beyond end":  {file(40), 0},
		"text read partly": {part, 9},
		"bytes":            {bytes.NewReader(make([]byte, 7)), 7},
		"buffer":           {bytes.NewBufferString("four"), 4},
		"section":          {io.NewSectionReader(strings.NewReader("0123456789"), 2, 5), 5},
		"limited":          {io.LimitReader(strings.NewReader("0123456789"), 4), 4},
		"limited by less":  {io.LimitReader(strings.NewReader("0123456789"), 40), 10},
		"limited unknown":  {io.LimitReader(unknown, 4), -1},
		"body":             {objstore.ObjectSizerReadCloser{ReadCloser: io.NopCloser(unknown), Size: func() (int64, error) { return 3, nil }}, 3},
		"body of no size":  {objstore.ObjectSizerReadCloser{ReadCloser: io.NopCloser(unknown)}, -1},
		"unknown":          {unknown, -1},
		"pipe":             {pipe, -1},
	} {
		t.Run(name, func(t *testing.T) {
			n, ok := Size(c.r)
			if !ok {
				n = -1
			}
			if n != c.want {
				t.Errorf("size is %d, want %d", n, c.want)
			}
		})
	}
}

func TestTapKeepsWhatReadersCanDo(t *testing.T) {
	nothing := func(_ int, err error) error { return err }
	for name, r := range map[string]io.Reader{
		"seek and read at": strings.NewReader("0123456789"),
		"seek":             struct{ io.ReadSeeker }{strings.NewReader("0123456789")},
		"size only":        bytes.NewBufferString("0123456789"),
	} {
		tapped := Tap(r, nothing)
		_, seeks := r.(io.Seeker)
		_, tapSeeks := tapped.(io.Seeker)
		_, readsAt := r.(io.ReaderAt)
		_, tapReadsAt := tapped.(io.ReaderAt)
		if seeks != tapSeeks || readsAt != tapReadsAt {
			t.Errorf("%s: tapped it can seek %v and read at %v", name, tapSeeks, tapReadsAt)
		}
		if n, err := objstore.TryToGetSize(tapped); n != 10 || err != nil {
			t.Errorf("%s: tapped its size is %d, %v", name, n, err)
		}
	}
	if _, err := objstore.TryToGetSize(Tap(struct{ io.Reader }{strings.NewReader("x")}, nothing)); err == nil {
		t.Error("a reader of unknown size has one when tapped")
	}
}

func TestAny(t *testing.T) {
	target := errors.New("target")
	is := func(err error) bool { return err == target }
	for _, err := range []error{
		target,
		fmt.Errorf("a: %w", target),
		fmt.Errorf("a: %w and %w", io.EOF, fmt.Errorf("b: %w", target)),
		errors.Join(io.EOF, target),
		pkgerrors.Wrap(fmt.Errorf("a: %w", pkgerrors.WithStack(target)), "b"),
		causer{target},
	} {
		if !Any(err, is) {
			t.Errorf("%v does not hold %v", err, target)
		}
	}
	for _, err := range []error{nil, io.EOF, errors.Join(io.EOF), fmt.Errorf("%v", target), selfCause{}} {
		if Any(err, is) {
			t.Errorf("%v holds %v", err, target)
		}
	}
}

type causer struct{ cause error }

func (causer) Error() string  { return "causer" }
func (c causer) Cause() error { return c.cause }

type selfCause struct{}

func (selfCause) Error() string  { return "self" }
func (c selfCause) Cause() error { return c }

// TestNilBodyBesideAnError has a provider that returns a typed nil pointer with
// its error, as Google's does.
func TestNilBodyBesideAnError(t *testing.T) {
	failed := errors.New("failed")
	b := &Bucket{
		Bucket: nilBody{err: failed},
		Start:  func(context.Context, Call) (Pass, error) { return Plain{}, nil },
	}
	rc, err := b.Get(context.Background(), "object")
	if rc != nil || !errors.Is(err, failed) {
		t.Errorf("%v, %v", rc, err)
	}
}

type nilBody struct {
	objstore.Bucket
	err error
}

func (b nilBody) Get(context.Context, string) (io.ReadCloser, error) {
	var none *os.File
	return none, b.err
}
