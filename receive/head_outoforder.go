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

// hasOutOfOrderLog tells whether there are out-of-order samples to be replayed.
func (h *head) hasOutOfOrderLog() bool {
	segments, _ := os.ReadDir(h.outOfOrderLog())
	return slices.ContainsFunc(segments, func(segment os.DirEntry) bool {
		info, err := segment.Info()
		return err == nil && info.Size() > 0
	})
}

// prepareLogs mends the logs and makes the TSDB replay every sample in the log
// of out-of-order samples.
//
// Left alone it would not. The log has markers that say that what comes before
// them has gone into mapped chunks, and replaying drops the samples before a
// marker whose chunk seems to be there. But markers are written before the
// chunks are on disk, and some do not even say which chunk they mean, so that
// after a crash they can speak of chunks that were never written. So both are
// removed: the markers, and the chunks, which hold nothing that the logs do not
// hold. After a repair, also of what looks like the end that a crash leaves, they
// may, and stay; what is in chunks and in the log is read and cut into blocks
// once.
func (h *head) prepareLogs() error {
	if err := errors.Join(h.finishDropLogs(), h.finishLogRewrite()); err != nil {
		return err
	}
	refs, err := h.repairLogs()
	if err != nil {
		return fmt.Errorf("repair the logs: %w", err)
	}
	if h.hasOutOfOrderLog() {
		if err := h.dropMarkers(); err != nil {
			return fmt.Errorf("rewrite the log of out-of-order samples: %w", err)
		}
		if !exists(h.brokenLogs()) {
			if err := os.RemoveAll(h.mappedChunks()); err != nil {
				return err
			}
		}
	}
	return h.reserveRefs(refs)
}

// locked does something to the files of a TSDB that is not open, and that no
// other process has open.
func (h *head) locked(do func() error) error {
	file := filepath.Join(h.dir, "lock")
	lock, existed, err := fileutil.Flock(file)
	if err != nil {
		return fmt.Errorf("lock the TSDB's directory: %w", err)
	}
	errs := []error{do(), lock.Release()}
	if !existed { // If it did, the TSDB says that the last one did not end well.
		errs = append(errs, os.Remove(file))
	}
	return errors.Join(errs...)
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

// readLog hands the records of a whole log to use.
func readLog(log string, use func(marker bool, rec []byte) error) error {
	segments, err := wholeLog(log, -1)
	if err != nil {
		return err
	}
	decoder := record.NewDecoder(labels.NewSymbolTable(), slog.New(slog.DiscardHandler))
	for _, segment := range segments {
		err := scanFile(segment, func(rec []byte) error {
			return use(decoder.Type(rec) == record.MmapMarkers, rec)
		}, func(logGap) error {
			return fmt.Errorf("%s is damaged", segment)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func copyWithoutMarkers(logger *slog.Logger, from, to string) error {
	return writeLog(logger, to, func(write func(rec []byte) error) error {
		return readLog(from, func(marker bool, rec []byte) error {
			if marker {
				return nil
			}
			return write(rec)
		})
	})
}

// copyBatch is how many bytes of records are written at a time.
const copyBatch = 1 << 20

// largestSegment is the size in bytes beyond which a log that is written anew
// begins another segment: twice what the TSDB's own segments have, so that the
// records of one always fit in one.
const largestSegment = 2 * wlog.DefaultSegmentSize

// writeLog writes a new log of the records that from hands to its argument.
func writeLog(logger *slog.Logger, to string, from func(write func(rec []byte) error) error) (err error) {
	out, err := wlog.NewSize(logger, nil, to, largestSegment, compression.Snappy)
	if err != nil {
		return err
	}
	var batch [][]byte
	size := 0
	err = from(func(rec []byte) error {
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
