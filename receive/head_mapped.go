package receive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

func (h *head) mappedChunks() string { return filepath.Join(h.dir, "chunks_head") }

// mentionMapped takes in the series of mapped chunks, up to the first that is
// damaged: the TSDB drops it and what follows. If it could not even open them,
// they are set aside, and it replays what the logs hold of them.
func (h *head) mentionMapped(refs *logRefs) error {
	if !exists(h.mappedChunks()) {
		return nil
	}
	mapper, err := chunks.NewChunkDiskMapper(nil, h.mappedChunks(), chunkenc.NewPool(), chunks.MinWriteBufferSize, 0)
	if err != nil && isBroken(err) {
		return h.setMappedAside(err)
	}
	if err != nil {
		return fmt.Errorf("open the mapped chunks: %w", err)
	}
	_ = mapper.IterateAllChunks(func(ref chunks.HeadSeriesRef, _ chunks.ChunkDiskMapperRef, _, _ int64, _ uint16, _ chunkenc.Encoding, _ bool) error {
		refs.mention(ref)
		return nil
	})
	return mapper.Close()
}

// setMappedAside moves the mapped chunks to the damaged segments, with which they
// go. Replaying writes them anew, which takes space.
func (h *head) setMappedAside(cause error) error {
	aside := filepath.Join(h.brokenLogs(), filepath.Base(h.mappedChunks()))
	if err := errors.Join(h.noteBroken(), os.RemoveAll(aside)); err != nil {
		return err
	}
	if err := fileutil.Rename(h.mappedChunks(), aside); err != nil {
		return fmt.Errorf("set the mapped chunks aside: %w", err)
	}
	h.log.Error("The mapped chunks cannot be opened and have been set aside. Nothing is lost of what the logs hold, which is all unless they were damaged, too.",
		"kept_for_a_while_in", aside, "err", cause)
	return h.makeSpace()
}
