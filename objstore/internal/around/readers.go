package around

import (
	"errors"
	"io"
	"os"
	"sync/atomic"

	"github.com/thanos-io/objstore"
)

// ErrNoSize is what ObjectSize of a reader of unknown size fails with.
var ErrNoSize = errors.New("the size of this reader is not known")

// Size returns how many bytes r has left to give, and false if it cannot tell.
// It must be called before anything is read.
func Size(r io.Reader) (int64, bool) {
	if s, ok := r.(io.Seeker); ok {
		// Asking by Seek is right for files that were read in part; their
		// type's own notion of size often is the whole.
		if at, err := s.Seek(0, io.SeekCurrent); err == nil {
			end, err := s.Seek(0, io.SeekEnd)
			if _, back := s.Seek(at, io.SeekStart); err == nil && back == nil {
				return max(end-at, 0), true
			}
		}
	}
	switch r := r.(type) {
	case *os.File:
		// A pipe cannot seek, and its length of zero says nothing.
		if info, err := r.Stat(); err != nil || !info.Mode().IsRegular() {
			return 0, false
		}
	case *io.LimitedReader:
		// The limit alone is not the size.
		n, ok := Size(r.R)
		return max(min(n, r.N), 0), ok
	}
	n, err := objstore.TryToGetSize(r)
	return n, err == nil && n >= 0
}

// On is told of each read: the number of bytes and the error of that read. It
// returns the error that the reading side sees. It may be called from several
// goroutines at once.
type On func(n int, err error) error

// Tap returns r with each read reported to on. What r can do beyond Read (its
// size, Seek, ReadAt) remains.
func Tap(r io.Reader, on On) io.Reader {
	n, known := Size(r)
	t := tap{Reader: r, on: on, size: n, known: known}
	s, seeks := r.(io.Seeker)
	a, readsAt := r.(io.ReaderAt)
	switch {
	case seeks && readsAt:
		return &tapSeekAt{tapSeek: tapSeek{tap: t, Seeker: s}, at: a}
	case seeks:
		return &tapSeek{tap: t, Seeker: s}
	default:
		return &t
	}
}

// Count returns r and a function that tells how many bytes of it were taken. A
// client that reads twice, for a checksum and to send, takes each byte once.
func Count(r io.Reader) (io.Reader, func() int64) {
	var read atomic.Int64
	size, known := Size(r)
	counted := Tap(r, func(n int, err error) error {
		read.Add(int64(n))
		return err
	})
	return counted, func() int64 {
		if n := read.Load(); !known || n < size {
			return n
		}
		return size
	}
}

// TapBody is Tap for bodies: closed runs once, after the first Close, unless
// it is nil.
func TapBody(rc io.ReadCloser, on On, closed func()) io.ReadCloser {
	n, known := Size(rc)
	return &tapBody{tap: tap{Reader: rc, on: on, size: n, known: known}, rc: rc, closed: closed}
}

type tap struct {
	io.Reader
	on    On
	size  int64
	known bool
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	return n, t.on(n, err)
}

// ObjectSize implements objstore.ObjectSizer.
func (t *tap) ObjectSize() (int64, error) {
	if !t.known {
		return 0, ErrNoSize
	}
	return t.size, nil
}

type tapSeek struct {
	tap
	io.Seeker
}

type tapSeekAt struct {
	tapSeek
	at io.ReaderAt
}

func (t *tapSeekAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := t.at.ReadAt(p, off)
	return n, t.on(n, err)
}

type tapBody struct {
	tap
	rc     io.ReadCloser
	closed func()
}

func (t *tapBody) Close() error {
	err := t.rc.Close()
	if t.closed != nil {
		t.closed()
		t.closed = nil
	}
	return err
}
