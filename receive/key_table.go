package receive

import (
	"math/bits"
	"math/rand/v2"
	"slices"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// keyTable is what is known of series by their keys. Who uses it bounds it and
// sees to it that it is not read while it changes.
type keyTable[V any] struct {
	// index is an open hash table with linear probing of the places in learnt,
	// plus one. It takes half the memory of a map of the language, and a fifth
	// of the time to fill.
	index []uint32
	// factor is odd and random. Senders choose labels, and so could choose many
	// whose keys have the same lower bits, which would all lie in one run of the
	// index: what is multiplied says nothing of them.
	factor uint64
	// learnt is in the order in which senders send: the one after a series that
	// was found is most often the next to be asked for, and finding it there is
	// several times faster than finding it by hash.
	learnt []keyEntry[V]
	// missed counts the keys that there was no room for.
	missed int
}

// keyEntry is what is known of one series.
type keyEntry[V any] struct {
	key   writepb.Key
	value V
}

// has reports whether the n-th of learnt, from 0, is there and is of a key.
func (t *keyTable[V]) has(n uint32, key writepb.Key) bool {
	return int(n) < len(t.learnt) && t.learnt[n].key == key
}

// start is where the probing of the index for a key starts.
func (t *keyTable[V]) start(key writepb.Key) uint64 {
	return key[0] * t.factor >> bits.LeadingZeros64(uint64(len(t.index)-1))
}

// find returns the place of a key in learnt.
func (t *keyTable[V]) find(key writepb.Key) (at uint32, ok bool) {
	if len(t.index) == 0 {
		return 0, false
	}
	mask := uint64(len(t.index) - 1)
	for i := t.start(key); t.index[i] != 0; i = (i + 1) & mask {
		if at := t.index[i] - 1; t.learnt[at].key == key {
			return at, true
		}
	}
	return 0, false
}

// missesToForget is how many times as many series as there is room for have to
// be turned away before those that are remembered make room. Forgetting at once
// would be of no use to a little more than there is room for, which comes round
// and round: none would be remembered when it is next asked for.
const missesToForget = 4

// learn adds entries as long as there are no more than most, and takes in what is
// new of those that are there.
func (t *keyTable[V]) learn(entries []keyEntry[V], most int) {
	for _, e := range entries {
		if len(t.learnt) < most {
			t.put(e)
		} else if at, ok := t.find(e.key); ok {
			t.learnt[at].value = e.value
		} else {
			t.missed++
		}
	}
	if t.missed > missesToForget*most {
		t.reset()
	}
}

// put adds an entry, or takes the place of the one of the same key.
func (t *keyTable[V]) put(e keyEntry[V]) {
	if at, ok := t.find(e.key); ok {
		t.learnt[at].value = e.value
		return
	}
	t.learnt = append(t.learnt, e)
	if 4*len(t.learnt) > 3*len(t.index) {
		t.grow()
	} else {
		t.enter(len(t.learnt))
	}
}

// enter puts the n-th of learnt, which is new, into the index.
func (t *keyTable[V]) enter(n int) {
	mask := uint64(len(t.index) - 1)
	i := t.start(t.learnt[n-1].key)
	for t.index[i] != 0 {
		i = (i + 1) & mask
	}
	t.index[i] = uint32(n)
}

// grow makes an index of twice the size, a power of two, of all of learnt, and
// room for all that it will hold: append would copy that time and again.
func (t *keyTable[V]) grow() {
	if t.factor == 0 {
		t.factor = rand.Uint64() | 1
	}
	t.index = make([]uint32, max(fewestSlots, 2*len(t.index)))
	t.learnt = slices.Grow(t.learnt, len(t.index)/4*3+1-len(t.learnt))
	for n := range t.learnt {
		t.enter(n + 1)
	}
}

func (t *keyTable[V]) reset() { t.index, t.learnt, t.missed = nil, nil, 0 }
