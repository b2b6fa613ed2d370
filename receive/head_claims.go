package receive

import (
	"math/bits"
	"math/rand/v2"
)

// claimTable finds the transaction that is making a series by the hash of the
// series' labels. It is an open hash table with linear probing, and holds the
// claims there are, not those there were: some thousands, one request's for each
// sender, so that what a series needs of it is in the processor's caches.
type claimTable struct {
	factor uint64  // odd and random; see slotTable
	slots  []claim // a power of two of them
	n      int
}

type claim struct {
	hash  uint64
	owner *headAppender // nil if the slot is free
}

// maxClaimSlots bounds the slots of a table that is kept for others, which is all
// free: 512 KiB.
const maxClaimSlots = 32 << 10

func newClaimTable() any { return &claimTable{factor: rand.Uint64() | 1} }

func (t *claimTable) start(hash uint64) int {
	return int(hash * t.factor >> bits.LeadingZeros64(uint64(len(t.slots)-1)))
}

// find returns the claim to a series, or the free slot for one. The table is not
// empty of slots.
func (t *claimTable) find(hash uint64) *claim {
	i := t.start(hash)
	for t.slots[i].owner != nil && t.slots[i].hash != hash {
		i = (i + 1) & (len(t.slots) - 1)
	}
	return &t.slots[i]
}

// owner returns who has a series, or nil.
func (t *claimTable) owner(hash uint64) *headAppender {
	if t.n == 0 {
		return nil
	}
	return t.find(hash).owner
}

// give makes a the owner of a series that has none, and returns nil, or else the
// owner it has.
func (t *claimTable) give(a *headAppender, hash uint64) (owner *headAppender) {
	if 2*t.n >= len(t.slots) {
		t.grow()
	}
	c := t.find(hash)
	if c.owner != nil {
		return c.owner
	}
	*c = claim{hash, a}
	t.n++
	return nil
}

// remove takes away the claim to a series. Those behind it move up, so that
// none is looked for in vain.
func (t *claimTable) remove(hash uint64) {
	mask := len(t.slots) - 1
	hole := t.start(hash)
	for t.slots[hole].hash != hash || t.slots[hole].owner == nil {
		if t.slots[hole].owner == nil {
			return
		}
		hole = (hole + 1) & mask
	}
	for i := (hole + 1) & mask; t.slots[i].owner != nil; i = (i + 1) & mask {
		// One that starts behind the hole is found without passing it.
		if start := t.start(t.slots[i].hash); (i-start)&mask >= (i-hole)&mask {
			t.slots[hole] = t.slots[i]
			hole = i
		}
	}
	t.slots[hole] = claim{}
	t.n--
}

func (t *claimTable) grow() {
	old := t.slots
	t.slots = make([]claim, max(fewestSlots, 2*len(old)))
	for _, c := range old {
		if c.owner != nil {
			*t.find(c.hash) = c
		}
	}
}
