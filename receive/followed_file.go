package receive

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varve-tsdb/varve/internal/every"
)

// followedFile keeps what a file says. A file that cannot be used changes
// nothing: what the last good one said stays. It is safe for concurrent use.
//
// The file is read at every look and its text compared, because a time stamp
// does not tell of two changes that come quickly one after the other, and a
// file system event not of a mounted file that was replaced.
type followedFile[T any] struct {
	name     string // of its kind, in messages
	path     string
	interval time.Duration
	// maxBytes is how large parse takes it. No more than one byte beyond it is
	// read, which is enough to have it refused.
	maxBytes int64
	parse    func(text []byte) (*T, error)
	// changed is told what has just become current, and its text.
	changed func(now *T, text []byte)
	log     *slog.Logger
	metrics *followedFileMetrics

	current atomic.Pointer[T]

	mu      sync.Mutex // guards what follows, and is held while loading
	text    []byte     // of what is current
	problem string     // of the last pass, empty if it was good
}

// defaultFileInterval is the time between two looks at a file.
const defaultFileInterval = 10 * time.Second

func (f *followedFile[T]) run(ctx context.Context) error {
	return every.Run(ctx, f.interval, f.load, nil)
}

// load is one pass of run.
func (f *followedFile[T]) load(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.look()
	if err == nil {
		if f.problem != "" {
			f.log.Info(fmt.Sprintf("The %s is good again.", f.name), "path", f.path)
		}
		f.problem = ""
		f.metrics.good.Set(1)
		return nil
	}
	if text := err.Error(); text != f.problem {
		f.log.Error(fmt.Sprintf("The %s cannot be used.", f.name), "path", f.path, "loaded_before", f.current.Load() != nil, "err", err)
		f.problem = text
	}
	f.metrics.good.Set(0)
	f.metrics.failed.Inc()
	return fmt.Errorf("%s %s: %w", f.name, f.path, err)
}

func (f *followedFile[T]) look() error {
	text, err := f.read()
	if err != nil {
		return err
	}
	if f.current.Load() != nil && bytes.Equal(text, f.text) {
		f.metrics.unchanged.Inc()
		return nil
	}
	now, err := f.parse(text)
	if err != nil {
		return err
	}
	f.text = text
	f.current.Store(now)
	f.metrics.changed.Inc()
	f.metrics.changedAt.SetToCurrentTime()
	f.changed(now, text)
	return nil
}

func (f *followedFile[T]) read() ([]byte, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, f.maxBytes+1))
}
