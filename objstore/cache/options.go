package cache

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// Options of New. The zero value is a cache of 256 MiB in memory.
type Options struct {
	// MemoryBytes is how much is remembered in memory. 0 means 256 MiB, negative
	// nothing. What readers still refer to after it was forgotten comes on top.
	MemoryBytes int64
	// Dir is the directory of what is remembered on disk, which survives a
	// restart. It is created. "" means nothing. Several caches, of several
	// processes too, may have the same: they share what is in it.
	Dir string
	// DiskBytes is how much Dir may take. 0 means 10 GiB. While several caches
	// write into one directory each may exceed it by a sixteenth.
	DiskBytes int64
	// Logger gets a line, once a minute at most, when the disk fails, and another
	// when a file on it turns out to be damaged. nil is silent.
	Logger *slog.Logger
	// Registerer gets the metrics varve_objstore_cache_*; Close takes them off
	// again. nil is fine.
	Registerer prometheus.Registerer
}

// Validate reports all problems at once.
func (o Options) Validate() error {
	var errs []error
	if o.DiskBytes < 0 {
		errs = append(errs, fmt.Errorf("Options.DiskBytes is %d, want 0 or more", o.DiskBytes))
	}
	if o.DiskBytes > 0 && o.Dir == "" {
		errs = append(errs, errors.New("Options.DiskBytes is set but Options.Dir is empty: name a directory"))
	}
	if o.DiskBytes > 0 && o.DiskBytes < segmentBytes {
		errs = append(errs, fmt.Errorf("Options.DiskBytes is %d, want 0 or at least %d", o.DiskBytes, segmentBytes))
	}
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 256 << 20
	}
	if o.DiskBytes == 0 {
		o.DiskBytes = 10 << 30
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
