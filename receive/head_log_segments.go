package receive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// mostMissingSegments bounds the segments in a row that are taken for lost: each
// gets a file, and more of them mean a file that is out of place.
const mostMissingSegments = 1000

// logWithCheckpoint returns the segments that the TSDB replays as its
// write-ahead log: the newest checkpoint and what comes after it. Those that are
// missing are among them.
//
// Behind a checkpoint there has to be a segment, as the TSDB begins again at
// zero otherwise, and the next replay passes by all that is not behind the
// checkpoint. And where the first segments are gone there was a checkpoint.
func (h *head) logWithCheckpoint() ([]string, error) {
	wal := h.writeAheadLog()
	numbers, err := segmentNumbers(wal)
	if err != nil || !exists(wal) {
		return nil, err
	}
	first := 0
	checkpoint, last, err := wlog.LastCheckpoint(wal)
	switch {
	case err == nil:
		first = last + 1
	case !errors.Is(err, record.ErrNotFound):
		return nil, err
	case len(numbers) == 0 || numbers[0] == 0:
		return wholeLog(wal, -1)
	default:
		first = numbers[0]
		checkpoint = wlog.CheckpointDir(wal, first-1)
	}
	before, err := wholeLog(checkpoint, 0)
	if err != nil {
		return nil, err
	}
	after, err := wholeLog(wal, first)
	return append(before, after...), err
}

// wholeLog returns the segments in a directory in their order, and among them
// those that are missing: between two others, and the one of number first, which
// the log has to have unless that is negative.
func wholeLog(dir string, first int) (segments []string, err error) {
	numbers, err := segmentNumbers(dir)
	if err != nil {
		return nil, err
	}
	if at, there := slices.BinarySearch(numbers, first); first >= 0 && !there {
		numbers = slices.Insert(numbers, at, first)
	}
	for i, n := range numbers {
		next := n
		if i > 0 {
			next = numbers[i-1] + 1
		}
		if n-next > mostMissingSegments {
			return nil, fmt.Errorf("in %s the segments %08d to %08d are missing, too many for a damage: restore them, or move what does not belong there away", dir, next, n-1)
		}
		for ; next <= n; next++ {
			segments = append(segments, wlog.SegmentName(dir, next))
		}
	}
	return segments, nil
}

// segmentNumbers returns the numbers of the segments in a directory in their
// order, none if it does not exist.
func segmentNumbers(dir string) (numbers []int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		n, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		file := filepath.Join(dir, entry.Name())
		if n < 0 || entry.IsDir() || file != wlog.SegmentName(dir, n) {
			return nil, fmt.Errorf("%s is no segment of a log, and keeps the TSDB from finding those that are: move it away", file)
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, nil
}
