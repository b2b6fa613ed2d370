package objstoretest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// Operation is one call on a bucket.
type Operation struct {
	// Op is one of the Op constants of package objstore.
	Op string
	// Name is the object, or the directory of a list.
	Name string
	// Off and Len are the range that a get_range asked for. Len is -1 for "to
	// the end" and for all other operations.
	Off, Len int64
	// Bytes is how much of a body was read so far, or of an upload's reader
	// until it ended.
	Bytes int64
	// Err is the outcome. It is nil while an operation runs.
	Err error
}

// String is the operation in one line: "get_range 01AB/index 16+64", "upload
// 01AB/meta.json". An error follows behind a colon.
func (o Operation) String() string {
	s := o.Op + " " + o.Name
	switch {
	case o.Op == objstore.OpGetRange && o.Len < 0:
		s += fmt.Sprintf(" %d+", o.Off)
	case o.Op == objstore.OpGetRange:
		s += fmt.Sprintf(" %d+%d", o.Off, o.Len)
	}
	if o.Err != nil {
		s += ": " + o.Err.Error()
	}
	return s
}

// Recorder is a Bucket that keeps a log of what is done to the bucket below
// it.
type Recorder struct {
	around.Bucket

	mu  sync.Mutex // log
	log []*Operation
}

var _ objstore.InstrumentedBucket = (*Recorder)(nil)

// NewRecorder returns a Recorder around b with an empty log.
func NewRecorder(b objstore.Bucket) *Recorder {
	r := &Recorder{Bucket: around.Bucket{Bucket: b}}
	r.Start = r.start
	return r
}

// Log returns all operations since the beginning or the last Reset, in the
// order in which they began.
func (r *Recorder) Log() []Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := make([]Operation, len(r.log))
	for i, o := range r.log {
		log[i] = *o
	}
	return log
}

// Lines returns the log as text, one operation a line, those of ops only if
// any are named.
func (r *Recorder) Lines(ops ...string) string {
	var b strings.Builder
	for _, o := range r.Log() {
		if len(ops) == 0 || slices.Contains(ops, o.Op) {
			b.WriteString(o.String() + "\n")
		}
	}
	return b.String()
}

// Reset forgets the log.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = nil
}

func (r *Recorder) start(_ context.Context, call around.Call) (around.Pass, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := &Operation{Op: call.Op, Name: call.Name, Off: call.Off, Len: call.Len}
	r.log = append(r.log, o)
	return &recording{r: r, o: o}, nil
}

type recording struct {
	around.Plain
	r *Recorder
	o *Operation // guarded by r.mu

	taken func() int64 // of an upload
}

func (p *recording) count(n int, err error) error {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.o.Bytes += int64(n)
	return err
}

func (p *recording) Source(r io.Reader) io.Reader {
	r, p.taken = around.Count(r)
	return r
}

func (p *recording) Body(rc io.ReadCloser) io.ReadCloser { return around.TapBody(rc, p.count, nil) }

func (p *recording) End(err error) error {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.o.Err = err
	if p.taken != nil {
		p.o.Bytes = p.taken()
	}
	return err
}
