package block

import (
	"time"

	"github.com/oklog/ulid/v2"
)

// indexErrors is what lists of the bucket have contradicted of what was known of it
// before. An index that says so still or again is not believed: its base may be a new
// one that was begun before the bucket changed.
type indexErrors map[ulid.ULID]indexError

type indexError struct {
	entry Entry
	at    time.Time // when it was found
}

// learn compares a list of the bucket with what was known before it began, and with
// the errors so far.
func (w *indexErrors) learn(list []Entry, now time.Time, known ...[]Entry) {
	there := make(map[ulid.ULID]Entry, len(list))
	for _, e := range list {
		there[e.ID] = e
	}
	wrong := indexErrors{}
	for id, e := range *w {
		if !there[id].sameUpload(e.entry) {
			wrong[id] = e
		}
	}
	for _, entries := range known {
		for _, e := range entries {
			if e.HasMeta && !there[e.ID].sameUpload(e) {
				wrong[e.ID] = indexError{e, now}
			}
		}
	}
	*w = wrong
}

// has tells whether an entry of an index is known to be wrong.
func (w indexErrors) has(e Entry) bool {
	wrong, ok := w[e.ID]
	return ok && wrong.entry.sameUpload(e)
}

// expire drops what no index says any more that is believed: its base was begun
// after all, or writers have ceased to tell what they did before.
func (w indexErrors) expire(now time.Time, objects []*indexObject) {
	var interval time.Duration
	for _, o := range objects {
		if o.name.base {
			interval = max(interval, o.interval)
		}
	}
	for id, e := range w {
		if now.Sub(e.at)/2 > interval {
			delete(w, id)
		}
	}
}

// sameUpload tells whether both are of a complete block, and as far as times tell
// of the same upload and edit of it.
func (e Entry) sameUpload(other Entry) bool {
	same := func(a, b time.Time) bool { return a.IsZero() || b.IsZero() || a.Sub(b).Abs() < time.Second }
	return e.HasMeta && other.HasMeta && same(e.MetaWritten, other.MetaWritten) && same(e.DataWritten, other.DataWritten)
}
