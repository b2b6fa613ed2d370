package receive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/every"
)

// HashringFileOptions are the settings of a HashringFile. The zero value is
// usable.
type HashringFileOptions struct {
	// Hashrings are the settings of what the file holds.
	Hashrings HashringsOptions
	// Interval is the time between two looks at the file. Default 10 seconds.
	Interval time.Duration
	// Logger gets the messages; nil is silent.
	Logger *slog.Logger
	// Registerer gets the metrics; nil means none. For two files on one
	// registry wrap it with prometheus.WrapRegistererWith.
	Registerer prometheus.Registerer
}

func (o HashringFileOptions) withDefaults() HashringFileOptions {
	o.Hashrings = o.Hashrings.withDefaults()
	if o.Interval == 0 {
		o.Interval = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate returns all that is wrong with the options, each by its field's
// name, or nil. Zero values are fine.
func (o HashringFileOptions) Validate() error {
	var errs []error
	if err := o.Hashrings.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", "Hashrings", err))
	}
	if o.Interval < 0 {
		errs = append(errs, fmt.Errorf("%s: %v is negative", "Interval", o.Interval))
	}
	return errors.Join(errs...)
}

// HashringFile keeps Hashrings as a file has them. A file that cannot be used
// changes nothing: those of the last good one stay. It is safe for concurrent
// use.
//
// The file is read at every look and its text compared, because a time stamp
// does not tell of two changes that come quickly one after the other, and a
// file system event not of a mounted file that was replaced.
type HashringFile struct {
	path    string
	opts    HashringFileOptions
	current atomic.Pointer[Hashrings]
	metrics *hashringMetrics

	mu      sync.Mutex // guards what follows, and is held while loading
	text    []byte     // of what is current
	problem string     // of the last pass, empty if it was good
}

// NewHashringFile returns a HashringFile that has loaded nothing yet. An error
// is that of the options or of registering the metrics.
func NewHashringFile(path string, opts HashringFileOptions) (*HashringFile, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	f := &HashringFile{path: path, opts: opts.withDefaults()}
	f.metrics = newHashringMetrics(f.Current)
	if err := f.metrics.register(opts.Registerer); err != nil {
		return nil, err
	}
	return f, nil
}

// Current returns the hashrings of the last good file, nil if there was none.
// It never waits. A request asks once and keeps to what it got: that does not
// change, and remains valid when others take its place.
func (f *HashringFile) Current() *Hashrings { return f.current.Load() }

// Run loads the file, and again at every interval if it has changed, until ctx
// is done; then it returns nil. A file that is missing or bad is logged, once
// for each thing that is wrong with it, and counted, and looked at again.
func (f *HashringFile) Run(ctx context.Context) error {
	return every.Run(ctx, f.opts.Interval, f.Load, nil)
}

// Load is one pass of Run. If the file has changed and is good, Current returns
// its hashrings from then on. The error, which has the *HashringError of what is
// wrong, says what to change in the file. A host that is not to start with a bad
// file calls it before Run.
func (f *HashringFile) Load(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.load()
	if err == nil {
		if f.problem != "" {
			f.opts.Logger.Info("The hashring file is good again.", "path", f.path)
		}
		f.problem = ""
		f.metrics.good.Set(1)
		return nil
	}
	if text := err.Error(); text != f.problem {
		f.opts.Logger.Error("The hashring file cannot be used.", "path", f.path, "loaded_before", f.Current() != nil, "err", err)
		f.problem = text
	}
	f.metrics.good.Set(0)
	f.metrics.failed.Inc()
	return fmt.Errorf("hashring file %s: %w", f.path, err)
}

func (f *HashringFile) load() error {
	text, err := readHashringFile(f.path)
	if err != nil {
		return err
	}
	if f.Current() != nil && bytes.Equal(text, f.text) {
		f.metrics.unchanged.Inc()
		return nil
	}
	hashrings, err := ParseHashrings(text, f.opts.Hashrings)
	if err != nil {
		return err
	}
	f.text = text
	f.current.Store(hashrings)
	f.metrics.changed.Inc()
	f.metrics.changedAt.SetToCurrentTime()
	f.metrics.hash.Set(hashringFileHash(text))
	f.opts.Logger.Info("Hashrings loaded.", "path", f.path, "hashrings", len(hashrings.entries), "endpoints", len(hashrings.endpoints))
	return nil
}

// readHashringFile reads no more than one byte beyond what is allowed, which is
// enough to have it refused.
func readHashringFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxHashringsBytes+1))
}

// hashringFileHash returns the first 48 bits of the SHA-256 of the file as a
// number, like thanos_receive_config_hash: the same on all receivers that have
// the same file.
func hashringFileHash(text []byte) float64 {
	sum := sha256.Sum256(text)
	return float64(binary.LittleEndian.Uint64(append(sum[:6:6], 0, 0)))
}
