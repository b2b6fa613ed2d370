package receive

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// findExisting makes a slot for each tenant on the disk.
func (t *Tenants) findExisting() error {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return fmt.Errorf("tenants' data directory: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !entry.IsDir() || slices.Contains(reservedTenants[:], name) {
			continue
		}
		if strings.HasPrefix(name, removedPrefix) {
			if err := os.RemoveAll(filepath.Join(t.dir, name)); err != nil {
				t.log.Warn("What is left of a removed tenant cannot be removed.", "dir", filepath.Join(t.dir, name), "err", err)
			}
			continue
		}
		if err := ValidateTenant(name); err != nil {
			t.log.Warn("A directory cannot be a tenant's and is ignored.", "dir", filepath.Join(t.dir, name), "err", err)
			continue
		}
		s := newSlot(t, name)
		if blocks, ok := s.newHead().idleOnDisk(); ok {
			s.idle = blocks
		} else {
			s.pending = true
		}
		t.slots[name] = s
	}
	return nil
}

// OpenAll opens the tenants that are on the disk and not open yet, several at
// once, those first that were written to last, and returns when all are open or
// ctx is done. Run begins with it. Opening replays the write-ahead logs, so it
// can take a while; a damaged log is repaired, and what it has lost is logged and
// counted.
//
// Nobody waits for tenants of no concern: each takes writes and answers reads
// once it is open, and a write or read of one that is not has it opened next.
//
// A tenant that cannot be opened is no error: it is logged, counted and tried
// again by Compact, and the others work. Errors are ErrClosed and that of ctx.
func (t *Tenants) OpenAll(ctx context.Context) error {
	slots, err := t.pending()
	if err != nil {
		return err
	}
	written := make(map[*slot]time.Time, len(slots))
	for _, s := range slots {
		written[s] = lastLogged(s.newHead().writeAheadLog())
	}
	slices.SortStableFunc(slots, func(a, b *slot) int { return written[b].Compare(written[a]) })
	_ = t.each(slots, func(s *slot) error {
		if ctx.Err() == nil {
			_, _ = s.current(ctx) // Logged, and tried again by Compact.
		}
		return nil
	})
	return context.Cause(ctx)
}

// Opening returns how many tenants that are on the disk are still to be opened.
// Those do take writes and reads, which wait for it. It is zero once OpenAll has
// returned nil, and costs little enough to be asked by a readiness check.
func (t *Tenants) Opening() int {
	slots, _ := t.pending()
	return len(slots)
}

func (t *Tenants) pending() (out []*slot, err error) {
	slots, err := t.all()
	for _, s := range slots {
		if s.isPending() {
			out = append(out, s)
		}
	}
	return out, err
}

// lastLogged returns when something was last written to a log.
func lastLogged(dir string) (last time.Time) {
	segments, _ := os.ReadDir(dir)
	for _, segment := range segments {
		if info, err := segment.Info(); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}
