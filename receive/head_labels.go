package receive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/varve-tsdb/varve/internal/durable"
	"github.com/varve-tsdb/varve/internal/shipped"
)

// labelsFile notes, next to the blocks, the external labels that a tenant was
// last opened with.
const labelsFile = "varve.labels.json"

// blockLabels are the external labels of a tenant's blocks. What is in memory,
// and thus all blocks to come, has those of today.
type blockLabels struct {
	Version int           `json:"version"`
	Labels  labels.Labels `json:"labels"`
	// Former are the labels of the blocks that were cut when they were others.
	Former map[ulid.ULID]labels.Labels `json:"former,omitempty"`
}

// readLabels returns what the tenant's directory notes, or nil if it notes
// nothing.
func readLabels(dir string) (*blockLabels, error) {
	file := filepath.Join(dir, labelsFile)
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var noted blockLabels
	if err := json.Unmarshal(raw, &noted); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if noted.Version != 1 {
		return nil, fmt.Errorf("%s: version %d is not known, only 1 is", file, noted.Version)
	}
	return &noted, nil
}

// settleLabels finds out which blocks were cut under other external labels than
// the tenant has now, and notes it. It must come before blocks are cut.
func (h *head) settleLabels() error {
	noted, err := readLabels(h.dir)
	if err != nil && !isBroken(err) {
		return err
	}
	if err != nil {
		h.log.Warn("Cannot tell under which external labels the blocks on the local disk were cut; those of today are taken.", "labels", h.external, "err", err)
	}
	now := &blockLabels{Version: 1, Labels: h.external}
	if noted != nil {
		now.Former = h.formerLabels(noted)
		if labels.Equal(noted.Labels, h.external) && len(now.Former) == len(noted.Former) {
			h.former = now.Former
			return nil
		}
	}
	if err := now.write(h.dir); err != nil {
		return fmt.Errorf("note the external labels: %w", err)
	}
	h.former = now.Former
	if noted != nil && !labels.Equal(noted.Labels, h.external) {
		h.log.Warn("The external labels have changed. Blocks on the local disk are shipped under the labels they were cut under, and no longer read from here once they are shipped; "+
			"until then they show the new labels, as do the samples in memory, which are also shipped under them.",
			"before", noted.Labels, "now", h.external, "blocks", len(now.Former))
	}
	return nil
}

// formerLabels returns the labels of the blocks on disk that differ from those
// of today.
func (h *head) formerLabels(noted *blockLabels) map[ulid.ULID]labels.Labels {
	former := map[ulid.ULID]labels.Labels{}
	if len(noted.Former) == 0 && labels.Equal(noted.Labels, h.external) {
		return former
	}
	for _, b := range closedBlocks(h.dir) {
		cutUnder, ok := noted.Former[b.id]
		if !ok {
			cutUnder = noted.Labels
		}
		if !labels.Equal(cutUnder, h.external) {
			former[b.id] = cutUnder
		}
	}
	return former
}

// write replaces the note durably and in one step.
func (b *blockLabels) write(dir string) error {
	raw, err := json.MarshalIndent(b, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return durable.ReplaceFile(filepath.Join(dir, labelsFile), raw)
}

// labelsOf returns the external labels that a block was cut under.
func (h *head) labelsOf(id ulid.ULID) labels.Labels {
	if former, ok := h.former[id]; ok {
		return former
	}
	return h.external
}

// blockChunkQuerier returns the querier over one block, which is empty for one
// that is answered for elsewhere: under the labels it was shipped with.
func (h *head) blockChunkQuerier(b tsdb.BlockReader, mint, maxt int64) (storage.ChunkQuerier, error) {
	if len(h.former) > 0 && !h.opts.LocalOnly {
		id := b.Meta().ULID
		if _, ok := h.former[id]; ok && h.isShipped(id) {
			return storage.NoopChunkedQuerier(), nil
		}
	}
	return tsdb.NewBlockChunkQuerier(b, mint, maxt)
}

// isShipped tells whether a block is known to have been shipped. If nobody
// knows it is not: to be read twice is better than not at all.
func (h *head) isShipped(id ulid.ULID) bool {
	done, err := shipped.Read(h.dir)
	return err == nil && done[id]
}

// labelsOnDisk returns the external labels that a block of a tenant without a
// head was cut under, if it can be told.
func labelsOnDisk(dir string, id ulid.ULID, today labels.Labels) (external labels.Labels, ok bool) {
	noted, err := readLabels(dir)
	switch {
	case err != nil:
		return labels.EmptyLabels(), false
	case noted == nil:
		return today, true
	}
	if former, ok := noted.Former[id]; ok {
		return former, true
	}
	return noted.Labels, true
}
