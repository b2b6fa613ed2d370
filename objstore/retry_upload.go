package objstore

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// Upload implements Bucket.
func (r *retrying) Upload(ctx context.Context, name string, src io.Reader, opts ...ObjectUploadOption) error {
	seeker, start, ok := seekable(src)
	if !ok {
		return wrapError(OpUpload, name, 1, r.Bucket.Bucket.Upload(ctx, name, src, opts...))
	}
	size, _ := around.Size(src)
	return r.run(ctx, OpUpload, name, func(attempt int) error {
		if attempt > 1 {
			if _, err := seeker.Seek(start, io.SeekStart); err != nil {
				return final(wrapError(OpUpload, name, attempt-1, err))
			}
		}
		take := &uploadTake{src: seeker, size: size}
		err := r.Bucket.Bucket.Upload(ctx, name, take.reader(), opts...)
		if failed := take.end(); err != nil && failed != nil {
			return final(wrapError(OpUpload, name, attempt, err))
		}
		return err
	})
}

// seekable returns src as a seeker, and where it stands. A pipe has a Seek
// that fails.
func seekable(src io.Reader) (io.ReadSeeker, int64, bool) {
	s, ok := src.(io.ReadSeeker)
	if !ok {
		return nil, 0, false
	}
	start, err := s.Seek(0, io.SeekCurrent)
	return s, start, err == nil
}

var errTakeEnded = errors.New("read from an upload that has ended")

// uploadTake is the source during one attempt. An HTTP client may go on reading
// a request's body after it has given up on the request; once the attempt is
// over such a read must neither move the source nor race with the next attempt.
type uploadTake struct {
	mu    sync.Mutex // src, ended, err
	src   io.ReadSeeker
	size  int64
	ended bool
	err   error // of the source itself
}

// reader returns the take with just what its source can do.
func (t *uploadTake) reader() io.Reader {
	if at, ok := t.src.(io.ReaderAt); ok {
		return &uploadTakeAt{uploadTake: t, at: at}
	}
	return t
}

// end cuts the take off from its source and returns the source's own error.
func (t *uploadTake) end() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	return t.err
}

func (t *uploadTake) note(err error) {
	if err != nil && err != io.EOF {
		t.err = err
	}
}

func (t *uploadTake) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return 0, errTakeEnded
	}
	n, err := t.src.Read(p)
	t.note(err)
	return n, err
}

func (t *uploadTake) Seek(offset int64, whence int) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return 0, errTakeEnded
	}
	return t.src.Seek(offset, whence)
}

// ObjectSize implements ObjectSizer.
func (t *uploadTake) ObjectSize() (int64, error) { return t.size, nil }

type uploadTakeAt struct {
	*uploadTake
	at io.ReaderAt
}

// ReadAt implements io.ReaderAt. Reads run side by side: they share no offset.
func (t *uploadTakeAt) ReadAt(p []byte, off int64) (int, error) {
	t.mu.Lock()
	ended := t.ended
	t.mu.Unlock()
	if ended {
		return 0, errTakeEnded
	}
	n, err := t.at.ReadAt(p, off)
	t.mu.Lock()
	t.note(err)
	t.mu.Unlock()
	return n, err
}
