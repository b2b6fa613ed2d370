package receive

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"

	"github.com/varve-tsdb/varve/internal/durable"
)

// mostBrokenSegments bounds the damaged segments that are kept, the first that
// were found, of up to 128 MiB each.
const mostBrokenSegments = 4

func (h *head) writeAheadLog() string { return filepath.Join(h.dir, "wal") }

// brokenLogs is the directory of damaged segments as they were found, of none if
// only the end of a log was torn. While it is there, mapped chunks may hold what
// the logs no longer do.
func (h *head) brokenLogs() string { return filepath.Join(h.dir, "logs"+brokenSuffix) }

// repairLogs rewrites the damaged segments of the logs with the records that
// can be read, those behind the damage, too, and tells what is missing. A segment
// that is gone is replaced by one without any.
//
// The TSDB would drop all that comes after the first damage, and it cannot open
// a log of which a segment is gone, or whose checkpoint is damaged. What it wants
// to avoid is samples of series whose record is lost being taken for those of a
// series that gets the same reference later; see reserve.
func (h *head) repairLogs() (refs logRefs, err error) {
	if err := os.RemoveAll(h.mendedSegment()); err != nil {
		return refs, err
	}
	wal, err := h.logWithCheckpoint()
	if err != nil {
		return refs, err
	}
	wbl, err := wholeLog(h.outOfOrderLog(), -1)
	if err != nil {
		return refs, err
	}
	damagedWAL, err := damagedSegments(wal, refs.add)
	if err != nil {
		return refs, err
	}
	damagedWBL, err := damagedSegments(wbl, func(_ record.Type, ref chunks.HeadSeriesRef) { refs.mention(ref) })
	if err != nil || len(damagedWAL)+len(damagedWBL) == 0 {
		return refs, err
	}
	inOrder, outOfOrder := newLogSurvey(), newLogSurvey()
	if err := errors.Join(inOrder.read(wal), outOfOrder.read(wbl)); err != nil {
		return refs, err
	}
	// Of a log that is whole nothing is known to be missing.
	var lostWAL, lostWBL logLoss
	if len(damagedWAL) > 0 {
		lostWAL, lostWBL = inOrder.end(inOrder.known), outOfOrder.end(inOrder.known)
	} else {
		lostWAL, lostWBL = inOrder.end(nil), outOfOrder.end(nil)
	}
	damaged := slices.Concat(damagedWAL, damagedWBL)
	if lostWAL.torn && lostWBL.torn {
		err = h.noteBroken()
	} else {
		err = h.keepBroken(damaged)
	}
	if err != nil {
		return refs, err
	}
	if len(damagedWAL) > 0 {
		if err := h.mentionMapped(&refs); err != nil {
			return refs, err
		}
		refs.given = refs.reserve()
	}
	for i, segment := range damaged {
		var reserved chunks.HeadSeriesRef
		if i < len(damagedWAL) {
			reserved = refs.given
		}
		if err := h.mendSegment(segment, reserved); err != nil {
			return refs, err
		}
	}
	h.tellLoss("write-ahead log", lostWAL)
	h.tellLoss("log of out-of-order samples", lostWBL)
	return refs, nil
}

// mendedSegment is the directory of a segment that is being mended.
func (h *head) mendedSegment() string { return filepath.Join(h.dir, "logs"+newLogSuffix) }

// mendSegment replaces a segment by one of its whole records, none if it is not
// there, in one step. If reserved is not zero, series that are new get greater
// references.
func (h *head) mendSegment(segment string, reserved chunks.HeadSeriesRef) error {
	tmp := h.mendedSegment()
	err := writeLog(h.log, tmp, func(write func(rec []byte) error) error {
		err := scanFile(segment, write, func(logGap) error { return nil })
		if err != nil || reserved == 0 {
			return err
		}
		return write(reservation(reserved))
	})
	if err != nil {
		return fmt.Errorf("rewrite %s: %w", segment, err)
	}
	// A checkpoint may be missing as a whole.
	if err := os.MkdirAll(filepath.Dir(segment), 0o777); err != nil {
		return err
	}
	if err := fileutil.Replace(wlog.SegmentName(tmp, 0), segment); err != nil {
		return err
	}
	return os.RemoveAll(tmp)
}

// tellLoss logs and counts what a log has lost, if anything.
func (h *head) tellLoss(log string, loss logLoss) {
	if len(loss.segments) == 0 && loss.orphans.n == 0 {
		return
	}
	h.metrics.repairs.Inc()
	h.metrics.logSegmentsDamaged.Add(float64(len(loss.segments)))
	h.metrics.logBytesLost.Add(float64(loss.bytes))
	h.metrics.logSamplesLost.Add(float64(loss.orphans.n))
	attrs := append([]any{"log", log}, loss.attrs()...)
	if loss.torn && loss.orphans.n == 0 {
		h.log.Warn("A log ended in the middle of a record and has been repaired. After a crash that is expected, and the record had not been acknowledged. "+
			"If there was none, the file has lost its end; samples of it that are in mapped chunks or blocks are not lost.", attrs...)
		return
	}
	if len(loss.segments) == 0 {
		h.log.Error("Samples in this log are lost, because another log was damaged where it told their series.", attrs...)
		return
	}
	if !loss.torn && len(loss.missing) < len(loss.segments) {
		attrs = append(attrs, "kept_for_a_while_in", h.brokenLogs())
	}
	h.log.Error("A log was damaged and has been repaired. All records that can be read are kept; samples that are in mapped chunks or blocks, too, are not lost.", attrs...)
}

// brokenNote lies beside the damaged segments.
type brokenNote struct {
	Version int `json:"version"`
	// Until is the time in ms up to which, inclusive, mapped chunks may hold
	// what the logs have lost; math.MaxInt64 if it is not known yet.
	Until int64 `json:"until"`
}

const brokenNoteFile = "varve.note.json"

// noteBroken sees to it that mapped chunks are kept. It must be done before a log
// is mended. Damaged segments that are there stay for as long.
func (h *head) noteBroken() error {
	dir := h.brokenLogs()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return writeNote(dir, brokenNote{Version: 1, Until: math.MaxInt64})
}

// keepBroken is noteBroken, and links damaged segments to where they outlive
// their replacement. Those of an earlier damage make way.
func (h *head) keepBroken(segments []string) error {
	dir := h.brokenLogs()
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := h.noteBroken(); err != nil {
		return err
	}
	segments = slices.DeleteFunc(slices.Clone(segments), func(segment string) bool { return !exists(segment) })
	for i, segment := range segments {
		if i == mostBrokenSegments {
			h.log.Warn("Not all damaged segments are kept.", "kept", i, "damaged", len(segments))
			break
		}
		name, err := filepath.Rel(h.dir, segment)
		if err == nil {
			err = os.Link(segment, filepath.Join(dir, strings.ReplaceAll(name, string(filepath.Separator), "-")))
		}
		if err != nil {
			h.log.Warn("A damaged segment of a log is not kept.", "segment", segment, "err", err)
		}
	}
	return nil
}

func writeNote(dir string, note brokenNote) error {
	raw, err := json.Marshal(note)
	if err != nil {
		return err
	}
	return durable.ReplaceFile(filepath.Join(dir, brokenNoteFile), raw)
}

// releaseBroken notes, once the head is open, up to when there are samples that
// only mapped chunks may hold, and deletes the damaged segments when blocks have
// been cut up to then.
func (h *head) releaseBroken() (err error) {
	dir := h.brokenLogs()
	defer func() {
		if err != nil {
			err = fmt.Errorf("tenant %q: damaged segments of logs in %s: %w", h.tenant, dir, err)
		}
	}()
	if !exists(dir) {
		return nil
	}
	note := brokenNote{Until: math.MaxInt64}
	raw, err := os.ReadFile(filepath.Join(dir, brokenNoteFile))
	if err == nil {
		err = json.Unmarshal(raw, &note)
	}
	if err != nil || note.Until == math.MaxInt64 {
		return writeNote(dir, brokenNote{Version: 1, Until: h.db.Head().MaxTime()})
	}
	for _, b := range h.db.Blocks() {
		meta := b.Meta()
		if !meta.Compaction.FromOutOfOrder() && meta.MaxTime > note.Until {
			return os.RemoveAll(dir)
		}
	}
	return nil
}
