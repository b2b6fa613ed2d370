package cli

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/receive"
)

// LimitsFile is a file of limits that there need not be.
type LimitsFile struct{ file *receive.LimitsFile }

// Limits loads the limits that a file has, or none if it has no name.
func Limits(ctx context.Context, path string, log *slog.Logger, reg prometheus.Registerer) (LimitsFile, error) {
	if path == "" {
		return LimitsFile{}, nil
	}
	file, err := receive.NewLimitsFile(path, receive.LimitsFileOptions{Logger: log, Registerer: reg})
	if err == nil {
		err = file.Load(ctx)
	}
	if err != nil {
		return LimitsFile{}, fmt.Errorf("--receive.limits-config-file: %w; correct it, or leave the flag out", err)
	}
	return LimitsFile{file}, nil
}

// Current returns the limits of now, nil if there are none.
func (l LimitsFile) Current() *receive.LimitSet {
	if l.file == nil {
		return nil
	}
	return l.file.Current()
}

// Run follows the file until ctx is done.
func (l LimitsFile) Run(ctx context.Context) error {
	if l.file == nil {
		return nil
	}
	return l.file.Run(ctx)
}
