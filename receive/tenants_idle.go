package receive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb/fileutil"

	"github.com/varve-tsdb/varve/internal/durable"
	"github.com/varve-tsdb/varve/internal/shipped"
)

const (
	// goneSuffix ends the name of a log of which all is in blocks.
	goneSuffix = ".varve-gone"
	// deletedSuffix and unfinishedSuffix end the name of a block that is being
	// deleted or written. A TSDB removes both when it is opened.
	deletedSuffix    = ".tmp-for-deletion"
	unfinishedSuffix = ".tmp-for-creation"
	// removedPrefix begins the name of a directory, in the data directory, in
	// which that of a tenant is removed.
	removedPrefix = ".varve.removed-"
)

// errRemoved: the tenant was removed; the next write makes it anew.
var errRemoved = errors.New("the tenant has been removed")

// idleFor tells whether nothing was written to the head for a time.
func (h *head) idleFor(d time.Duration) bool {
	return d > 0 && time.Since(time.Unix(0, h.lastWrite.Load())) >= d
}

// closeIdle cuts an idle head into blocks and closes it. All is in the blocks
// then, so the logs go: what is left of the tenant is what its blocks cost. The
// caller must have locked the slot.
//
// Whoever is using the head goes first: a tenant that is written to, or read
// from, is not idle. Those who come later wait until it is closed; a write opens
// it again.
func (s *slot) closeIdle(ctx context.Context, h *head) error {
	if s.tenants.space.check() != nil {
		return nil // There is no room for blocks.
	}
	if !h.writers.pauseIfEmpty() {
		return nil
	}
	if !h.idleFor(h.opts.IdleAfter) {
		h.writers.resume()
		return nil
	}
	blocks, err := s.cutIdle(ctx, h)
	if err != nil || blocks == nil {
		h.writers.resume()
		return err
	}
	if !h.readers.pauseIfEmpty() {
		h.writers.resume()
		return nil // The next pass has nothing to cut.
	}
	s.mu.Lock()
	s.head, s.idle = nil, blocks
	s.mu.Unlock()
	if err := errors.Join(h.close(), h.dropLogs()); err != nil {
		// The logs may be there still. What they hold is in blocks and passed by.
		s.mu.Lock()
		s.idle = nil
		s.mu.Unlock()
		blocks.retire()
		_, again := s.open()
		return errors.Join(fmt.Errorf("tenant %q: close the idle head: %w", s.name, err), again)
	}
	s.metadata.forget()
	s.tenants.metrics.idleClosings.Inc()
	return nil
}

// cutIdle cuts all there is, and returns the blocks, or nil if something has
// stayed in memory. No writer may be inside.
func (s *slot) cutIdle(ctx context.Context, h *head) (*idleBlocks, error) {
	if err := h.cutAll(ctx); err != nil {
		return nil, err
	}
	if err := h.releaseBroken(); err != nil {
		return nil, err
	}
	if h.db.Head().NumSeries() > 0 || h.failure() != nil {
		return nil, nil
	}
	blocks, err := s.newHead().idle()
	if err != nil {
		return nil, fmt.Errorf("tenant %q: %w", s.name, err)
	}
	return blocks, nil
}

// dropLogs removes the logs of a closed head of which all is in blocks. The
// write-ahead log is the last: alone it is replayed to nothing, while the others
// need it.
func (h *head) dropLogs() error {
	for _, dir := range []string{h.outOfOrderLog(), h.mappedChunks(), h.writeAheadLog()} {
		if !exists(dir) {
			continue
		}
		// Never is a part of a log there.
		if err := errors.Join(os.RemoveAll(dir+goneSuffix), fileutil.Rename(dir, dir+goneSuffix)); err != nil {
			return err
		}
	}
	return h.finishDropLogs()
}

// finishDropLogs removes what a crash in dropLogs has left.
func (h *head) finishDropLogs() error {
	var errs []error
	for _, dir := range []string{h.outOfOrderLog(), h.mappedChunks(), h.writeAheadLog()} {
		errs = append(errs, os.RemoveAll(dir+goneSuffix))
	}
	return errors.Join(errs...)
}

// tidyIdle is the upkeep of an idle tenant: what nobody reads is closed, blocks
// that may go are deleted, and when none is left the tenant is removed. The
// caller must have locked the slot.
func (s *slot) tidyIdle(blocks *idleBlocks) error {
	left, err := blocks.tidy()
	if err != nil || left > 0 || s.tenants.opts.IdleAfter < 0 {
		return err
	}
	if !removable(s.dir) {
		return nil
	}
	if err := s.remove(); err != nil {
		return fmt.Errorf("tenant %q: remove %s, of which all is shipped: %w", s.name, s.dir, err)
	}
	return nil
}

// removable tells whether a directory is a tenant's and holds nothing that
// somebody might miss: neither blocks, nor such as were set aside, nor what is
// not ours.
func removable(dir string) bool {
	entries, err := os.ReadDir(dir)
	ours := false
	for _, entry := range entries {
		switch name := entry.Name(); {
		case name == labelsFile:
			ours = true
		case name == shipped.Filename, name == "lock", strings.HasSuffix(name, durable.TmpSuffix):
		case name == "thanos" && entry.IsDir(): // Where a shipper stages its uploads.
		case isLeftOver(name):
		default:
			return false
		}
	}
	return err == nil && ours
}

// isLeftOver tells whether a directory is what was left of a block or a log.
func isLeftOver(name string) bool {
	if strings.HasSuffix(name, goneSuffix) {
		return true
	}
	for _, suffix := range []string{deletedSuffix, unfinishedSuffix} {
		if id, ok := strings.CutSuffix(name, suffix); ok {
			_, err := ulid.ParseStrict(id)
			return err == nil
		}
	}
	return false
}

// remove takes the tenant off the disk and off the list. Its directory is gone
// in one step, before anybody can make it anew: those who have the slot find it
// removed when they get the lock, and look for another.
func (s *slot) remove() error {
	t := s.tenants
	trash, err := os.MkdirTemp(t.dir, removedPrefix)
	if err != nil {
		return err
	}
	if err := os.Rename(s.dir, filepath.Join(trash, s.name)); err != nil {
		return errors.Join(err, os.Remove(trash))
	}
	t.mu.Lock()
	s.mu.Lock()
	if t.slots[s.name] == s {
		delete(t.slots, s.name)
	}
	s.removed = true
	s.mu.Unlock()
	t.mu.Unlock()
	t.metrics.removals.Inc()
	t.log.Info("A tenant without writes, whose blocks are all shipped and past the retention, has been removed from the local disk.", "tenant", s.name)
	return os.RemoveAll(trash)
}
