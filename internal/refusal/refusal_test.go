package refusal_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/varve-tsdb/varve/internal/refusal"
)

type says struct {
	away, final bool
	after       time.Duration // negative: not busy
}

func (says) Error() string         { return "refused" }
func (s says) Unavailable() bool   { return s.away }
func (s says) LimitExceeded() bool { return s.final }
func (s says) Overloaded() (time.Duration, bool) {
	return max(s.after, 0), s.after >= 0
}

func TestOf(t *testing.T) {
	var (
		plain = errors.New("broken")
		mute  = says{after: -1}
		away  = says{away: true, after: -1}
		busy  = says{away: true, after: 5 * time.Second}
		later = says{after: time.Minute}
		final = says{final: true, after: -1}
	)
	for name, c := range map[string]struct {
		err   error
		kind  refusal.Kind
		after time.Duration
	}{
		"nil":                          {nil, refusal.None, 0},
		"one that says nothing":        {plain, refusal.None, 0},
		"one that says no":             {mute, refusal.None, 0},
		"away":                         {fmt.Errorf("source: %w", away), refusal.Away, 0},
		"busy, which is away too":      {fmt.Errorf("source: %w", busy), refusal.Busy, 5 * time.Second},
		"final":                        {fmt.Errorf("source: %w", final), refusal.Final, 0},
		"behind one that says no":      {errors.Join(mute, plain, away), refusal.Away, 0},
		"the latest time":              {errors.Join(busy, fmt.Errorf("%w, %w", plain, later)), refusal.Busy, time.Minute},
		"final beside others":          {errors.Join(busy, away, final), refusal.Final, 0},
		"final, and then others again": {errors.Join(final, busy), refusal.Final, 0},
	} {
		if kind, after := refusal.Of(c.err); kind != c.kind || after != c.after {
			t.Errorf("%s: %d, %s, want %d, %s", name, kind, after, c.kind, c.after)
		}
	}
}
