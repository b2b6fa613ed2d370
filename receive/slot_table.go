package receive

import "math/bits"

// slotTable numbers 64-bit keys in the order in which they are added. It is an
// open hash table with linear probing, for the keys of one request: they are
// looked up for every sample, and the maps of the language take several times
// as long to fill and to clear.
type slotTable struct {
	// factor is odd. For hashes of labels, which senders choose, it is random: they
	// could make as many as they like that agree in their lower bits, and in what is
	// made of these by adding or taking away. References do with any.
	factor uint64
	slots  []tableSlot // a power of two of them
	n      int
}

type tableSlot struct {
	key  uint64
	next uint32 // the number of the key, plus one; zero if the slot is free
}

const fewestSlots = 64

// spreadFactor is 2^64 divided by the golden ratio: its products with numbers that
// count up lie far from each other.
const spreadFactor = 0x9e3779b97f4a7c15

// start is where the probing for a key starts. References of a request come in
// runs that count up, one run for each sender that made series at the same time.
// If neighbours started in neighbouring slots, two runs that meet would have each
// key of one pass by all keys of the other.
func (t *slotTable) start(key uint64) int {
	return int(key * t.factor >> bits.LeadingZeros64(uint64(len(t.slots)-1)))
}

func (t *slotTable) get(key uint64) (int, bool) {
	if t.n == 0 {
		return 0, false
	}
	for i := t.start(key); t.slots[i].next != 0; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i].key == key {
			return int(t.slots[i].next - 1), true
		}
	}
	return 0, false
}

// add returns the number of a key, and whether it is new.
func (t *slotTable) add(key uint64) (n int, fresh bool) {
	if 2*t.n >= len(t.slots) {
		t.grow()
	}
	i := t.start(key)
	for ; t.slots[i].next != 0; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i].key == key {
			return int(t.slots[i].next - 1), false
		}
	}
	t.n++
	t.slots[i] = tableSlot{key, uint32(t.n)}
	return t.n - 1, true
}

// removeLast takes back the latest add, which was that of key and fresh. It is
// the end of its run of slots, since nothing was added after it.
func (t *slotTable) removeLast(key uint64) {
	i := t.start(key)
	for t.slots[i].key != key {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = tableSlot{}
	t.n--
}

func (t *slotTable) grow() {
	if t.factor == 0 {
		t.factor = spreadFactor
	}
	old := t.slots
	t.slots = make([]tableSlot, max(fewestSlots, 2*len(old)))
	for _, s := range old {
		if s.next == 0 {
			continue
		}
		i := t.start(s.key)
		for t.slots[i].next != 0 {
			i = (i + 1) & (len(t.slots) - 1)
		}
		t.slots[i] = s
	}
}

// reset forgets all keys and keeps the room.
func (t *slotTable) reset() {
	if t.n > 0 {
		clear(t.slots)
	}
	t.n = 0
}
