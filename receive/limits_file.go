package receive

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/internal/every"
)

// LimitsFileOptions are the settings of a LimitsFile. The zero value is usable.
type LimitsFileOptions struct {
	// Interval is the time between two looks at the file. Default 10 seconds.
	Interval time.Duration
	// Logger gets the messages; nil is silent.
	Logger *slog.Logger
	// Registerer gets the metrics; nil means none. For two files on one
	// registry wrap it with prometheus.WrapRegistererWith.
	Registerer prometheus.Registerer
}

func (o LimitsFileOptions) withDefaults() LimitsFileOptions {
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
func (o LimitsFileOptions) Validate() error {
	if o.Interval < 0 {
		return fmt.Errorf("%s: %v is negative", "Interval", o.Interval)
	}
	return nil
}

// LimitsFile keeps the limits of a file; see ParseLimits for its form. Its
// method Current is what HandlerOptions.Limits asks for. A file that cannot be
// used changes nothing: the limits of the last good one stay. It is safe for
// concurrent use.
//
// The file is read at every look and its text compared, as by HashringFile.
type LimitsFile struct {
	path    string
	opts    LimitsFileOptions
	current atomic.Pointer[LimitSet]
	metrics *limitsFileMetrics

	mu      sync.Mutex // guards what follows, and is held while loading
	text    []byte     // of what is current
	problem string     // of the last pass, empty if it was good
}

// NewLimitsFile returns a LimitsFile that has loaded nothing yet. An error is
// that of the options or of registering the metrics.
func NewLimitsFile(path string, opts LimitsFileOptions) (*LimitsFile, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("limits file options: %w", err)
	}
	f := &LimitsFile{path: path, opts: opts.withDefaults(), metrics: newLimitsFileMetrics()}
	if err := f.metrics.register(opts.Registerer); err != nil {
		return nil, err
	}
	return f, nil
}

// Current returns the limits of the last good file, nil if there was none. It
// never waits.
func (f *LimitsFile) Current() *LimitSet { return f.current.Load() }

// Run loads the file, and again at every interval if it has changed, until ctx
// is done; then it returns nil. A file that is missing or bad is logged, once
// for each thing that is wrong with it, and counted, and looked at again.
func (f *LimitsFile) Run(ctx context.Context) error {
	return every.Run(ctx, f.opts.Interval, f.Load, nil)
}

// Load is one pass of Run. If the file has changed and is good, Current returns
// its limits from then on. The error says what to change in the file. A host
// that is not to start with a bad file calls it before Run.
func (f *LimitsFile) Load(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.load()
	if err == nil {
		if f.problem != "" {
			f.opts.Logger.Info("The limits file is good again.", "path", f.path)
		}
		f.problem = ""
		f.metrics.good.Set(1)
		return nil
	}
	if text := err.Error(); text != f.problem {
		f.opts.Logger.Error("The limits file cannot be used.", "path", f.path, "loaded_before", f.Current() != nil, "err", err)
		f.problem = text
	}
	f.metrics.good.Set(0)
	f.metrics.loads.WithLabelValues("failed").Inc()
	return fmt.Errorf("limits file %s: %w", f.path, err)
}

func (f *LimitsFile) load() error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	// One byte too many is enough to have it refused.
	text, err := io.ReadAll(io.LimitReader(file, maxLimitsBytes+1))
	if err != nil {
		return err
	}
	if f.Current() != nil && bytes.Equal(text, f.text) {
		f.metrics.loads.WithLabelValues("unchanged").Inc()
		return nil
	}
	set, err := ParseLimits(text)
	if err != nil {
		return err
	}
	f.text = text
	f.current.Store(set)
	f.metrics.loads.WithLabelValues("changed").Inc()
	f.metrics.changedAt.SetToCurrentTime()
	f.opts.Logger.Info("Limits loaded.", "path", f.path, "tenants", len(set.Tenants))
	if len(set.unused) > 0 {
		f.opts.Logger.Info("Parts of the limits file have no effect: the series of a tenant are counted by the receiver that holds them, with no help of a monitoring system.",
			"path", f.path, "keys", strings.Join(set.unused, " "))
	}
	return nil
}
