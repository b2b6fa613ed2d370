package receive

import (
	"math"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/tombstones"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// Bounds of the references to series that are skipped. A reference is of 40 bits,
// and one beyond the greatest is not a head's.
const (
	reservedRefs = 1 << 20
	greatestRef  = 1 << 39
)

// logRefs are the greatest references to series in the files of a head.
type logRefs struct {
	given     chunks.HeadSeriesRef // that the TSDB will know to have been given
	mentioned chunks.HeadSeriesRef // that is known from anywhere
}

// add takes in what the write-ahead log has in a record of that type.
func (r *logRefs) add(kind record.Type, ref chunks.HeadSeriesRef) {
	if kind == record.Series || kind == record.Tombstones {
		r.given = max(r.given, ref)
	}
	r.mentioned = max(r.mentioned, ref)
}

// mention takes in what is anywhere else.
func (r *logRefs) mention(ref chunks.HeadSeriesRef) {
	if ref <= greatestRef {
		r.mentioned = max(r.mentioned, ref)
	}
}

// reserve returns a reference beyond all that are known, and beyond those that
// were only mentioned in what is lost, as chunks of that series may still be
// there. A series that is new gets one beyond it.
func (r *logRefs) reserve() chunks.HeadSeriesRef {
	if r.mentioned > greatestRef-reservedRefs {
		return r.mentioned + 1
	}
	return r.mentioned + reservedRefs
}

// reservation is a record from which the TSDB takes that series which are new get
// greater references: that the one of this reference, which there never was, has
// been deleted.
func reservation(ref chunks.HeadSeriesRef) []byte {
	var encoder record.Encoder
	return encoder.Tombstones([]tombstones.Stone{{
		Ref:       storage.SeriesRef(ref),
		Intervals: tombstones.Intervals{{Mint: math.MinInt64, Maxt: math.MaxInt64}},
	}}, nil)
}

// reserveRefs keeps the samples of series that the write-ahead log does not know
// any more, in mapped chunks or logs, from being taken for those of series that
// come next. That nothing else is missing of a log which has lost its last records
// cannot be told, since it looks like one that never had them. Series that were
// dropped after all of them was cut into blocks leave such samples, too.
func (h *head) reserveRefs(refs logRefs) error {
	if err := h.mentionMapped(&refs); err != nil {
		return err
	}
	if refs.mentioned <= refs.given {
		return nil
	}
	numbers, err := segmentNumbers(h.writeAheadLog())
	if err != nil {
		return err
	}
	next := 0
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	}
	return h.mendSegment(wlog.SegmentName(h.writeAheadLog(), next), refs.reserve())
}
