package store

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/objstore"
)

// Reasons why something is in quarantine, as metrics and BlockFault have them.
const (
	reasonMissing     = "missing"
	reasonTruncated   = "truncated"
	reasonCorrupt     = "corrupt"
	reasonUnsupported = "unsupported"
)

var reasons = []string{reasonMissing, reasonTruncated, reasonCorrupt, reasonUnsupported}

// reasonOf returns the reason that is in an error, or "" if it may pass by itself.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, ErrMissing):
		return reasonMissing
	case errors.Is(err, ErrTruncated):
		return reasonTruncated
	case errors.Is(err, ErrUnsupported):
		return reasonUnsupported
	case errors.Is(err, ErrCorrupt):
		return reasonCorrupt
	}
	return ""
}

// quarantine remembers what of the blocks is broken, so that it is not read again
// with every query. It may be used by several goroutines at once.
type quarantine struct {
	metrics *metrics
	keep    time.Duration // 0 remembers nothing
	now     func() time.Time

	mu     sync.RWMutex // guards faults
	faults map[*openBlock][]*knownFault
}

// knownFault is a thing that is broken: all of an object, or what begins at a
// place in it.
type knownFault struct {
	*BlockError // with Since
	at          int64
	until       time.Time
	// attributes are what was last seen of the object, if it was looked at.
	attributes objstore.ObjectAttributes
	looked     bool
}

func newQuarantine(keep time.Duration, m *metrics) *quarantine {
	return &quarantine{metrics: m, keep: keep, now: time.Now, faults: map[*openBlock][]*knownFault{}}
}

// known returns what is known to be wrong with the object, or with what begins at
// one of the spans.
func (q *quarantine) known(b *openBlock, object string, wanted []span) error {
	q.mu.RLock()
	defer q.mu.RUnlock()
	faults := q.faults[b]
	if len(faults) == 0 {
		return nil
	}
	now := q.now()
	for _, f := range faults {
		if f.Object != object || !now.Before(f.until) {
			continue
		}
		if f.at == everywhere || slices.ContainsFunc(wanted, func(s span) bool { return s.from == f.at }) {
			q.metrics.quarantineHits.Inc()
			return f.BlockError
		}
	}
	return nil
}

// add takes a fault in, if it is one of an object of the block that will not pass
// by itself.
func (q *quarantine) add(b *openBlock, fault *BlockError) {
	reason := reasonOf(fault)
	if q.keep <= 0 || reason == "" || !fault.Since.IsZero() || !strings.HasPrefix(fault.Object, b.id.String()+"/") {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if b.gone.Load() {
		return // forget has been called, and is not again
	}
	now := q.now()
	known := *fault
	known.Since = now
	f := &knownFault{BlockError: &known, at: placeOf(fault.Err), until: now.Add(q.keep)}
	faults := q.faults[b]
	i := slices.IndexFunc(faults, func(old *knownFault) bool { return old.Object == f.Object && old.at == f.at })
	switch {
	case i >= 0 && now.Before(faults[i].until):
		return // met by a read that began before
	case i >= 0:
		f.Since, f.attributes, f.looked = faults[i].Since, faults[i].attributes, faults[i].looked
		faults[i] = f
	case len(faults) < mostFaults:
		q.faults[b] = append(faults, f)
	}
	q.metrics.quarantines.WithLabelValues(reason).Inc()
	q.count()
}

// mostFaults bounds how many faults of one block are remembered. Where there are
// more the others are met anew.
const mostFaults = 1000

// forget drops all faults of a block.
func (q *quarantine) forget(b *openBlock) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.faults[b]; ok {
		delete(q.faults, b)
		q.count()
	}
}

// expire forgets faults that nobody has met again for as long as they were believed.
// Until then it is known since when they were there.
func (q *quarantine) expire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	for b, faults := range q.faults {
		faults = slices.DeleteFunc(faults, func(f *knownFault) bool { return !now.Before(f.until.Add(q.keep)) })
		if q.faults[b] = faults; len(faults) == 0 {
			delete(q.faults, b)
		}
	}
	q.count()
}

// count sets the metric. mu is held.
func (q *quarantine) count() {
	byReason := map[string]int{}
	now := q.now()
	for _, faults := range q.faults {
		var found []string
		for _, f := range faults {
			if !now.Before(f.until) {
				continue
			}
			if reason := reasonOf(f.Err); !slices.Contains(found, reason) {
				found = append(found, reason)
				byReason[reason]++
			}
		}
	}
	for _, reason := range reasons {
		q.metrics.quarantined.WithLabelValues(reason).Set(float64(byReason[reason]))
	}
}

// of returns a copy of the faults that count of a block, ordered by object and place.
func (q *quarantine) of(b *openBlock) []knownFault {
	q.mu.RLock()
	defer q.mu.RUnlock()
	var all []knownFault
	now := q.now()
	for _, f := range q.faults[b] {
		if now.Before(f.until) {
			all = append(all, *f)
		}
	}
	slices.SortFunc(all, func(a, b knownFault) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.at, b.at))
	})
	return all
}

// suspect is an object with a fault.
type suspect struct {
	block  *openBlock
	object string
}

// suspects returns the objects that have faults, at most n, those first that
// have not been looked at.
func (q *quarantine) suspects(n int) []suspect {
	q.mu.RLock()
	defer q.mu.RUnlock()
	seen := map[suspect]bool{}
	var fresh, others []suspect
	for b, faults := range q.faults {
		for _, f := range faults {
			s := suspect{b, f.Object}
			if seen[s] {
				continue
			}
			if seen[s] = true; f.looked {
				others = append(others, s)
			} else {
				fresh = append(fresh, s)
			}
		}
	}
	all := append(fresh, others...)
	return all[:min(n, len(all))]
}

// look is told what the bucket says about an object with faults. It drops them and
// returns true if the object was written since: they may be of the past.
func (q *quarantine) look(s suspect, attributes objstore.ObjectAttributes) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	rewritten := false
	for _, f := range q.faults[s.block] {
		if f.Object != s.object {
			continue
		}
		changed := f.looked && (f.attributes.Size != attributes.Size || !f.attributes.LastModified.Equal(attributes.LastModified))
		rewritten = rewritten || changed || attributes.LastModified.After(f.Since) || errors.Is(f.Err, ErrMissing)
		f.attributes, f.looked = attributes, true
	}
	if !rewritten {
		return false
	}
	q.faults[s.block] = slices.DeleteFunc(q.faults[s.block], func(f *knownFault) bool { return f.Object == s.object })
	if len(q.faults[s.block]) == 0 {
		delete(q.faults, s.block)
	}
	q.count()
	return true
}

// BlockFault is a part of a block that cannot be read.
type BlockFault struct {
	// Object is the name in the bucket.
	Object string `json:"object"`
	// Reason is missing, truncated, corrupt, or unsupported; empty for a
	// meta.json that just could not be read.
	Reason string `json:"reason"`
	// Whole says that the object as a whole is at fault, not only what the message
	// names. Without its index a block has no answers; without one of its chunk
	// files only none that need it.
	Whole bool `json:"whole"`
	// Message tells what is wrong and what to do.
	Message string `json:"message"`
	// Since is when the fault was met first, Until when the object is read again
	// at the latest. Both are zero for a meta.json, which each Sync reads.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// BlockStatus is a block that a Bucket knows, with what is wrong with it.
type BlockStatus struct {
	Block ulid.ULID `json:"ulid"`
	// Labels are the external labels.
	Labels map[string]string `json:"labels"`
	// MinTime (inclusive) and MaxTime (exclusive) bound the samples. They are
	// zero, and there are no labels, if meta.json cannot be read.
	MinTime time.Time `json:"minTime,omitzero"`
	MaxTime time.Time `json:"maxTime,omitzero"`
	// Resolution is zero for raw blocks.
	Resolution time.Duration `json:"resolution"`
	// Faults are what queries have met that is broken, and are not served until
	// it is repaired.
	Faults []BlockFault `json:"faults,omitempty"`
}

// Blocks returns all blocks that are served or would be if they could be read,
// ordered by labels and time. It makes no request.
func (b *Bucket) Blocks() []BlockStatus {
	b.mu.RLock()
	set := b.set
	b.mu.RUnlock()
	all := []BlockStatus{}
	if set == nil {
		return all
	}
	for _, s := range set.streams {
		for _, block := range s.blocks {
			all = append(all, block.status())
		}
	}
	for _, err := range set.unreadable {
		all = append(all, BlockStatus{Block: err.Block, Labels: map[string]string{}, Faults: []BlockFault{
			{Object: err.Object, Reason: reasonOf(err), Whole: true, Message: err.Error()},
		}})
	}
	return all
}

func (b *openBlock) status() BlockStatus {
	s := BlockStatus{
		Block: b.id, Labels: b.external.Map(), MinTime: time.UnixMilli(b.minTime).UTC(), MaxTime: time.UnixMilli(b.maxTime).UTC(),
		Resolution: time.Duration(b.resolution) * time.Millisecond,
	}
	for _, f := range b.src.quarantine.of(b) {
		s.Faults = append(s.Faults, BlockFault{
			Object: f.Object, Reason: reasonOf(f.Err), Whole: f.at == everywhere, Message: f.Err.Error(), Since: f.Since.UTC(), Until: f.until.UTC(),
		})
	}
	return s
}
