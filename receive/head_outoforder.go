package receive

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// Directories beside the log of out-of-order samples while it is rewritten.
const (
	newLogSuffix = ".varve-new"
	oldLogSuffix = ".varve-old"
)

func (h *head) outOfOrderLog() string { return filepath.Join(h.dir, wlog.WblDirName) }

func (h *head) mappedChunks() string { return filepath.Join(h.dir, "chunks_head") }

// hasOutOfOrderLog tells whether there are out-of-order samples to be replayed.
func (h *head) hasOutOfOrderLog() bool {
	segments, _ := os.ReadDir(h.outOfOrderLog())
	return slices.ContainsFunc(segments, func(segment os.DirEntry) bool {
		info, err := segment.Info()
		return err == nil && info.Size() > 0
	})
}

// prepareOutOfOrderLog makes the TSDB replay every sample in the log of
// out-of-order samples.
//
// Left alone it would not. The log has markers that say that what comes before
// them has gone into mapped chunks, and replaying drops the samples before a
// marker whose chunk seems to be there. But markers are written before the
// chunks are on disk, and some do not even say which chunk they mean, so that
// after a crash they can speak of chunks that were never written. So both are
// removed: the chunks, which hold nothing that the logs do not hold, and the
// markers.
func (h *head) prepareOutOfOrderLog() error {
	if err := h.finishLogRewrite(); err != nil {
		return err
	}
	if !h.hasOutOfOrderLog() {
		return nil
	}
	if err := h.dropMarkers(); err != nil {
		return fmt.Errorf("rewrite the log of out-of-order samples: %w", err)
	}
	return os.RemoveAll(h.mappedChunks())
}

// dropMarkers rewrites the log without markers. The log itself is replaced in
// two renames; finishLogRewrite sees to it when the process dies in between.
func (h *head) dropMarkers() error {
	log := h.outOfOrderLog()
	marked, err := hasMarkers(log)
	if err != nil || !marked {
		return err
	}
	if err := copyWithoutMarkers(h.log, log, log+newLogSuffix); err != nil {
		return err
	}
	if err := fileutil.Rename(log, log+oldLogSuffix); err != nil {
		return err
	}
	return h.finishLogRewrite()
}

// finishLogRewrite leaves one log, whatever was going on: the new one if the
// old one had been set aside, which it is when the new one is complete.
func (h *head) finishLogRewrite() error {
	log := h.outOfOrderLog()
	if _, err := os.Stat(log + oldLogSuffix); errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(log + newLogSuffix)
	} else if err != nil {
		return err
	}
	if _, err := os.Stat(log + newLogSuffix); err == nil {
		if err := fileutil.Rename(log+newLogSuffix, log); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(log + oldLogSuffix)
}

// errEnough ends the reading of a log.
var errEnough = errors.New("enough")

func hasMarkers(log string) (bool, error) {
	err := readLog(log, func(marker bool, _ []byte) error {
		if marker {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return true, nil
	}
	return false, err
}

// readLog hands the whole records of a log to use, up to the first that is
// damaged, as the last one is if the process was killed while writing it.
func readLog(log string, use func(marker bool, rec []byte) error) error {
	segments, err := wlog.NewSegmentsReader(log)
	if err != nil {
		return err
	}
	defer func() { _ = segments.Close() }()
	decoder := record.NewDecoder(labels.NewSymbolTable(), slog.New(slog.DiscardHandler))
	reader := wlog.NewReader(segments)
	for reader.Next() {
		rec := reader.Record()
		if err := use(decoder.Type(rec) == record.MmapMarkers, rec); err != nil {
			return err
		}
	}
	var damaged *wlog.CorruptionErr
	if err := reader.Err(); err != nil && !errors.As(err, &damaged) {
		return err
	}
	return nil
}

// copyBatch is how many bytes of records are written at a time.
const copyBatch = 1 << 20

func copyWithoutMarkers(logger *slog.Logger, from, to string) (err error) {
	out, err := wlog.New(logger, nil, to, compression.Snappy)
	if err != nil {
		return err
	}
	var batch [][]byte
	size := 0
	err = readLog(from, func(marker bool, rec []byte) error {
		if marker {
			return nil
		}
		batch, size = append(batch, slices.Clone(rec)), size+len(rec)
		if size < copyBatch {
			return nil
		}
		err := out.Log(batch...)
		batch, size = batch[:0], 0
		return err
	})
	if err == nil {
		err = out.Log(batch...)
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	dir, err := fileutil.OpenDir(to)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
