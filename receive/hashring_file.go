package receive

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
		o.Interval = defaultFileInterval
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
type HashringFile struct {
	file    followedFile[Hashrings]
	metrics *hashringMetrics
}

// NewHashringFile returns a HashringFile that has loaded nothing yet. An error
// is that of the options or of registering the metrics.
func NewHashringFile(path string, opts HashringFileOptions) (*HashringFile, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("hashring file options: %w", err)
	}
	opts = opts.withDefaults()
	f := &HashringFile{}
	f.metrics = newHashringMetrics(f.Current)
	if err := f.metrics.register(opts.Registerer); err != nil {
		return nil, err
	}
	f.file = followedFile[Hashrings]{
		name: "hashring file", path: path, interval: opts.Interval, maxBytes: maxHashringsBytes,
		parse: func(text []byte) (*Hashrings, error) { return ParseHashrings(text, opts.Hashrings) },
		changed: func(now *Hashrings, text []byte) {
			f.metrics.hash.Set(hashringFileHash(text))
			opts.Logger.Info("Hashrings loaded.", "path", path, "hashrings", len(now.entries), "endpoints", len(now.endpoints))
		},
		log: opts.Logger, metrics: f.metrics.followedFileMetrics,
	}
	return f, nil
}

// Current returns the hashrings of the last good file, nil if there was none.
// It never waits. A request asks once and keeps to what it got: that does not
// change, and remains valid when others take its place.
func (f *HashringFile) Current() *Hashrings { return f.file.current.Load() }

// Run loads the file, and again at every interval if it has changed, until ctx
// is done; then it returns nil. A file that is missing or bad is logged, once
// for each thing that is wrong with it, and counted, and looked at again.
func (f *HashringFile) Run(ctx context.Context) error { return f.file.run(ctx) }

// Load is one pass of Run. If the file has changed and is good, Current returns
// its hashrings from then on. The error, which has the *HashringError of what is
// wrong, says what to change in the file. A host that is not to start with a bad
// file calls it before Run.
func (f *HashringFile) Load(ctx context.Context) error { return f.file.load(ctx) }

// hashringFileHash returns the first 48 bits of the SHA-256 of the file as a
// number, like thanos_receive_config_hash: the same on all receivers that have
// the same file.
func hashringFileHash(text []byte) float64 {
	sum := sha256.Sum256(text)
	return float64(binary.LittleEndian.Uint64(append(sum[:6:6], 0, 0)))
}
