package receive

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
		o.Interval = defaultFileInterval
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
type LimitsFile struct{ file followedFile[LimitSet] }

// NewLimitsFile returns a LimitsFile that has loaded nothing yet. An error is
// that of the options or of registering the metrics.
func NewLimitsFile(path string, opts LimitsFileOptions) (*LimitsFile, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("limits file options: %w", err)
	}
	opts = opts.withDefaults()
	metrics, err := newLimitsFileMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	return &LimitsFile{followedFile[LimitSet]{
		name: "limits file", path: path, interval: opts.Interval, maxBytes: maxLimitsBytes,
		parse:   ParseLimits,
		changed: func(now *LimitSet, _ []byte) { logLimits(opts.Logger, path, now) },
		log:     opts.Logger, metrics: metrics,
	}}, nil
}

// Current returns the limits of the last good file, nil if there was none. It
// never waits.
func (f *LimitsFile) Current() *LimitSet { return f.file.current.Load() }

// Run loads the file, and again at every interval if it has changed, until ctx
// is done; then it returns nil. A file that is missing or bad is logged, once
// for each thing that is wrong with it, and counted, and looked at again.
func (f *LimitsFile) Run(ctx context.Context) error { return f.file.run(ctx) }

// Load is one pass of Run. If the file has changed and is good, Current returns
// its limits from then on. The error says what to change in the file. A host
// that is not to start with a bad file calls it before Run.
func (f *LimitsFile) Load(ctx context.Context) error { return f.file.load(ctx) }

// logLimits tells of limits that have just been loaded.
func logLimits(log *slog.Logger, path string, set *LimitSet) {
	log.Info("Limits loaded.", "path", path, "tenants", len(set.Tenants))
	if len(set.unused) > 0 {
		log.Info("Parts of the limits file have no effect: the series of a tenant are counted by the receiver that holds them, with no help of a monitoring system.",
			"path", path, "keys", strings.Join(set.unused, " "))
	}
}
