package receive

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/varve-tsdb/varve/internal/shipped"
)

// localBlock is what decides about a block's stay on the local disk.
type localBlock struct {
	id      ulid.ULID
	minTime int64 // ms
	maxTime int64 // exclusive, ms
	inOrder bool  // cut from the samples that came in order
}

func localBlocks(blocks []*tsdb.Block) []localBlock {
	out := make([]localBlock, 0, len(blocks))
	for _, b := range blocks {
		meta := b.Meta()
		out = append(out, localBlockOf(meta))
	}
	return out
}

func localBlockOf(meta tsdb.BlockMeta) localBlock {
	return localBlock{id: meta.ULID, minTime: meta.MinTime, maxTime: meta.MaxTime, inOrder: !meta.Compaction.FromOutOfOrder()}
}

// past tells whether a block is past the retention.
func (b localBlock) past(opts TenantsOptions, now time.Time) bool {
	limit := now.Add(-opts.Retention).UnixMilli()
	return opts.Retention >= 0 && b.maxTime <= limit && int64(b.id.Time()) <= limit
}

// deletableBlocks returns the blocks that may go: past the retention, and
// shipped unless that is not asked for. The newest block of in-order samples
// always stays, because on the next start its end tells which samples of the
// write-ahead log are in blocks already.
func deletableBlocks(blocks []localBlock, done map[ulid.ULID]bool, opts TenantsOptions, now time.Time) map[ulid.ULID]struct{} {
	newest := -1
	for i, b := range blocks {
		if b.inOrder && (newest < 0 || b.maxTime > blocks[newest].maxTime) {
			newest = i
		}
	}
	deletable := map[ulid.ULID]struct{}{}
	for i, b := range blocks {
		if i != newest && b.past(opts, now) && (opts.LocalOnly || done[b.id]) {
			deletable[b.id] = struct{}{}
		}
	}
	return deletable
}

// makeSpace returns nil if the disk has room to open a head. If it has not,
// blocks that may go are deleted first, which an open head would do itself.
func (h *head) makeSpace() error {
	needed := h.replaySize()
	full := h.space.look(needed)
	if full == nil {
		return nil
	}
	done, err := shipped.Read(h.dir)
	if err != nil {
		return errors.Join(full, err)
	}
	for id := range deletableBlocks(closedBlocks(h.dir), done, h.opts, time.Now()) {
		if err := deleteClosedBlock(h.dir, id); err != nil {
			h.log.Warn("A block that may go cannot be deleted.", "block", id, "err", err)
		}
	}
	return h.space.look(needed)
}

// replaySize returns how many bytes replaying the logs may write: nearly none
// if the chunks that were full are still there, and otherwise no more than the
// logs hold. A TSDB that cannot write them panics in a goroutine of its own, out
// of any fence.
func (h *head) replaySize() int64 {
	logs := dirSize(h.outOfOrderLog())
	if logs == 0 && dirSize(h.mappedChunks()) > 0 {
		return 0
	}
	return logs + dirSize(filepath.Join(h.dir, "wal"))
}

// dirSize returns the size of the files in a directory and below, as far as it
// can be told.
func dirSize(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size
}

// closedBlocks returns the blocks of a directory that no TSDB has open.
func closedBlocks(dir string) (out []localBlock) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		meta, ok := readMeta(filepath.Join(dir, entry.Name()))
		if !ok || meta.ULID.String() != entry.Name() {
			continue
		}
		out = append(out, localBlockOf(meta))
	}
	return out
}
