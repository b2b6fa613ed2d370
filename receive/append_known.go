package receive

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// lookUpBatch is how many series are looked up under one lock.
const lookUpBatch = 128

// appendSome appends series from the i-th on and returns how many. With a transaction
// open over a storage that keeps references, those of known series are found
// without decoding labels.
func (a *appendRun) appendSome(ctx context.Context, i int) (int, error) {
	if a.tx.refs == nil {
		return 1, a.appendAt(ctx, a.pickedAt(i), &knownSeries{})
	}
	batch := a.known[:min(lookUpBatch, a.numPicked()-i)]
	for j := range batch {
		k := &batch[j]
		k.ref = 0
		k.keyed = a.req.Outline(a.pickedAt(i+j), &k.Outline)
	}
	a.next = a.tx.refs.SeriesRefs().lookUp(batch, a.next)
	for j := 0; j < len(batch); j++ {
		n, err := a.appendKnown(batch[j:])
		if err != nil {
			a.fail(ctx, err)
		}
		if j += n; j == len(batch) {
			break
		}
		if err := a.appendAt(ctx, a.pickedAt(i+j), &batch[j]); err != nil {
			return 0, err
		}
	}
	return len(batch), nil
}

// floatAppender is how the float of a known series is appended.
type floatAppender interface {
	appendFloat(ref storage.SeriesRef, st, t int64, v float64) (storage.SeriesRef, error)
}

// refFloats is the floatAppender of any storage.
type refFloats struct{ RefAppender }

func (r refFloats) appendFloat(ref storage.SeriesRef, st, t int64, v float64) (storage.SeriesRef, error) {
	return r.Append(ref, labels.EmptyLabels(), st, t, v, nil, nil, storage.AOptions{})
}

// appendKnown appends the floats of known series, up to the first of which there
// is more to be said than that it is stored, and returns how many. A head has one
// fence around all of them, not one around each. The error is that of the storage
// as a whole.
func (a *appendRun) appendKnown(batch []knownSeries) (n int, err error) {
	if a.tx.app == nil || batch[0].ref == 0 {
		return 0, nil
	}
	a.tx.met = true
	to := floatAppender(refFloats{a.tx.refs})
	if h, ok := a.tx.refs.(*headAppender); ok {
		if h.usable() != nil {
			return 0, nil
		}
		defer h.head.fence("append", true, &err)
		h.head.unlogged.moving.RLock()
		defer h.head.unlogged.moving.RUnlock()
		to = h
	}
	for n < len(batch) && a.appendFloat(to, &batch[n]) {
		n++
	}
	return n, nil
}

// appendFloat appends the one float of a known series. It returns false if that
// is not all there is to it.
func (a *appendRun) appendFloat(to floatAppender, k *knownSeries) bool {
	t := k.Float.Timestamp
	if k.ref == 0 || !k.Single || k.ref == droppedRef || t > min(maxTimestamp, a.limits.maxTime) || t < minTimestamp {
		return false
	}
	last, fresh := a.seen.add(k.ref)
	if !fresh {
		return false
	}
	ref, err := to.appendFloat(k.ref, k.Float.StartTimestamp, t, k.Float.Value)
	if err != nil {
		a.seen.removeLast(k.ref)
		return false
	}
	*last = appendLast{t, sampleValue{v: k.Float.Value}}
	if ref != k.ref {
		// The storage has made the series anew in this very moment.
		again, _ := a.seen.add(ref)
		*again = appendLast{t, sampleValue{v: k.Float.Value}}
	}
	a.tx.samples[ReasonStored][floatSample]++
	return true
}

// appendAt decodes series i and appends it, and notes its reference to be learnt
// after the commit. k says what is known of it.
func (a *appendRun) appendAt(ctx context.Context, i int, k *knownSeries) error {
	a.at = uint32(i)
	if !k.keyed || !a.req.Single(&k.Outline, &a.series) {
		if err := a.req.Series(i, &a.series); err != nil {
			return fmt.Errorf("series %d: %w", i, err)
		}
	}
	if err := a.appendSeries(ctx, k.ref); err != nil {
		return fmt.Errorf("series %d: %w", i, err)
	}
	a.settleSeries()
	// Metadata goes to the storage with the first sample that is stored.
	t := &a.target
	if k.keyed && t.ref != k.ref && t.ref != 0 && (t.stored || t.ref == droppedRef) {
		a.learnt = append(a.learnt, learntRef{k.Key, t.ref})
	}
	return nil
}
