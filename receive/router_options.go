package receive

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// RouterOptions are the settings of a Router. The zero value is usable.
type RouterOptions struct {
	// ForwardTimeout bounds each call of a peer. Default 5 seconds, as in
	// Thanos. A sender waits that long where a quorum depends on a peer that
	// hangs.
	ForwardTimeout time.Duration
	// MinBackoff is how long a peer that has failed is left alone. It doubles
	// with each failure that follows, up to MaxBackoff; what is waited is between
	// half of that and all of it. Default 100 milliseconds.
	MinBackoff time.Duration
	// MaxBackoff is the longest that a peer is left alone. Default 5 seconds.
	MaxBackoff time.Duration
	// MaxPeerBytes bounds what is on its way to one peer at a time, requests that
	// nobody waits for any longer included. What is beyond it fails at once and
	// is retryable. A message that is larger by itself goes when no other does;
	// each counts as 4 KiB at least. Default 64 MiB. Negative means no bound.
	MaxPeerBytes int64
	// MaxKnownSeries bounds of how many series it is remembered that their labels
	// are valid, and what they are placed by, so that those need not be decoded
	// for each sample. One that is sent in both versions of the protocol, or in
	// several orders of its labels, counts for each. Each takes about 50 bytes.
	// Default 1,000,000. Negative remembers none.
	MaxKnownSeries int
	// Logger gets the messages; nil is silent.
	Logger *slog.Logger
	// Registerer gets the metrics; nil means none. For two routers on one
	// registry wrap it with prometheus.WrapRegistererWith.
	Registerer prometheus.Registerer
}

func (o RouterOptions) withDefaults() RouterOptions {
	if o.ForwardTimeout == 0 {
		o.ForwardTimeout = 5 * time.Second
	}
	if o.MinBackoff == 0 {
		o.MinBackoff = 100 * time.Millisecond
	}
	if o.MaxBackoff == 0 {
		o.MaxBackoff = max(5*time.Second, o.MinBackoff)
	}
	if o.MaxPeerBytes == 0 {
		o.MaxPeerBytes = 64 << 20
	}
	if o.MaxKnownSeries == 0 {
		o.MaxKnownSeries = 1_000_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate returns all that is wrong with the options, each by its field's
// name, or nil. Zero values are fine.
func (o RouterOptions) Validate() error {
	o = o.withDefaults()
	var errs []error
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"ForwardTimeout", o.ForwardTimeout}, {"MinBackoff", o.MinBackoff}, {"MaxBackoff", o.MaxBackoff}} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("%s: %v is negative", d.field, d.value))
		}
	}
	if o.MaxBackoff < o.MinBackoff {
		errs = append(errs, fmt.Errorf("%s: %v is less than MinBackoff, %v", "MaxBackoff", o.MaxBackoff, o.MinBackoff))
	}
	return errors.Join(errs...)
}
