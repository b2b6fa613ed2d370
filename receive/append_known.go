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
	for j := range batch {
		k := &batch[j]
		if k.ref != 0 {
			a.tx.hits++
			if k.Single && a.appendKnown(k) {
				continue
			}
		}
		if err := a.appendAt(ctx, a.pickedAt(i+j), k); err != nil {
			return 0, err
		}
	}
	return len(batch), nil
}

// appendKnown appends the one float of a known series. It returns false if
// there is more to be said about it than that it is stored.
func (a *appendRun) appendKnown(k *knownSeries) bool {
	t := k.Float.Timestamp
	if a.tx.app == nil || k.ref == droppedRef || t > min(maxTimestamp, a.limits.maxTime) || t < minTimestamp {
		return false
	}
	last, fresh := a.seen.add(k.ref)
	if !fresh {
		return false
	}
	ref, err := a.tx.app.Append(k.ref, labels.EmptyLabels(), k.Float.StartTimestamp, t, k.Float.Value, nil, nil, storage.AOptions{})
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
	if err := a.req.Series(i, &a.series); err != nil {
		return fmt.Errorf("series %d: %w", i, err)
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
