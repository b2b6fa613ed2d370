package receive

import (
	"cmp"
	"math/bits"
	"slices"
	"sort"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// sectionsPerEndpoint is the number of sections that an endpoint owns on a
// ketama ring. It decides where series go and so cannot change.
const sectionsPerEndpoint = 1000

// maxSectionReplicas bounds the replicas of all sections of a ring, which take four
// bytes each: 256 MiB.
const maxSectionReplicas = 64 << 20

// ketamaSection is a piece of a ring: it ends at hash, inclusive, and begins
// after the section before it.
type ketamaSection struct {
	hash  uint64
	owner uint32 // position among the members of the hashring
}

// newKetamaRing returns the sections of all endpoints, sorted. The i-th section
// of an endpoint, from 1, ends at the xxHash64 of "address:i".
func newKetamaRing(endpoints []Endpoint) []ketamaSection {
	ring := make([]ketamaSection, 0, len(endpoints)*sectionsPerEndpoint)
	var text []byte
	for owner, e := range endpoints {
		for i := 1; i <= sectionsPerEndpoint; i++ {
			text = append(append(text[:0], e.Address...), ':')
			text = strconv.AppendInt(text, int64(i), 10)
			ring = append(ring, ketamaSection{xxhash.Sum64(text), uint32(owner)})
		}
	}
	slices.SortFunc(ring, func(a, b ketamaSection) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.owner, b.owner))
	})
	return ring
}

// searchRing returns the position of the section that hash lies in.
func searchRing(ring []ketamaSection, hash uint64) int {
	i := sort.Search(len(ring), func(i int) bool { return ring[i].hash >= hash })
	if i == len(ring) {
		return 0
	}
	return i
}

// ketamaSections answer which endpoints a hash belongs on.
type ketamaSections struct {
	ends  []uint64 // sorted
	width int      // replicas of a section
	// table has width endpoints for each section, as indices into
	// Hashrings.Endpoints.
	table []uint32
	// jump has the first section that ends in, or after, each of equally wide
	// ranges of hashes, about as many as there are sections: as hashes spread
	// evenly, it is a step or two from there to the right one.
	jump  []uint32
	shift uint
}

// newKetamaSections assigns replicas to the sections of ring. Members are the
// owners' indices into Hashrings.Endpoints, zones their zones.
func newKetamaSections(ring []ketamaSection, members []uint32, zones []string, replicas int) *ketamaSections {
	s := &ketamaSections{
		ends:  make([]uint64, len(ring)),
		width: replicas,
		table: make([]uint32, 0, len(ring)*replicas),
	}
	spread := newZoneSpread(ring, zones, replicas)
	for i := range ring {
		s.ends[i] = ring[i].hash
		for _, owner := range spread.replicas(ring, i) {
			s.table = append(s.table, members[owner])
		}
	}
	size := bits.Len(uint(len(ring)))
	s.shift = uint(64 - size)
	s.jump = make([]uint32, 1<<size)
	section := 0
	for b := range s.jump {
		for section < len(ring) && ring[section].hash>>s.shift < uint64(b) {
			section++
		}
		s.jump[b] = uint32(section)
	}
	return s
}

// find returns the replicas of the section that hash lies in.
func (s *ketamaSections) find(hash uint64) []uint32 {
	i := int(s.jump[hash>>s.shift])
	for i < len(s.ends) && s.ends[i] < hash {
		i++
	}
	if i == len(s.ends) {
		i = 0
	}
	return s.table[i*s.width:][:s.width]
}

// zoneSpread picks the replicas of sections, each time anew.
type zoneSpread struct {
	zone     []int // of each member
	count    int
	balanced int // replicas to which the rule about zones applies
	picked   []uint32
	taken    []int // replicas in each zone
	seen     []int // by member: the section it was last picked for, plus one
}

func newZoneSpread(ring []ketamaSection, zones []string, replicas int) *zoneSpread {
	z := &zoneSpread{zone: make([]int, len(zones)), picked: make([]uint32, 0, replicas), seen: make([]int, len(zones))}
	known := map[string]int{}
	onRing := make([]bool, len(zones))
	for _, section := range ring {
		onRing[section.owner] = true
	}
	var sizes []int
	for member, name := range zones {
		if !onRing[member] {
			continue
		}
		number, ok := known[name]
		if !ok {
			number = len(sizes)
			known[name] = number
			sizes = append(sizes, 0)
		}
		z.zone[member] = number
		sizes[number]++
	}
	z.taken = make([]int, len(sizes))
	z.count = replicas
	// No zone is used more than once more often than the least used, so there
	// is an end to it when the smallest is used up.
	for _, size := range sizes {
		z.balanced += min(size, slices.Min(sizes)+1)
	}
	return z
}

// replicas returns the members that hold a section: going round the ring from
// it, owners not picked yet, skipping those in zones that have more replicas
// than the zone with the fewest. Once zones cannot be balanced any further,
// which Thanos does not get past, any zone will do. The slice is valid until
// the next call.
func (z *zoneSpread) replicas(ring []ketamaSection, section int) []uint32 {
	z.picked = z.picked[:0]
	clear(z.taken)
	least := 0
	for i := section; len(z.picked) < z.count; i++ {
		if i == len(ring) {
			i = 0
		}
		owner := ring[i].owner
		zone := z.zone[owner]
		if z.seen[owner] == section+1 || z.taken[zone] > least && len(z.picked) < z.balanced {
			continue
		}
		z.seen[owner] = section + 1
		z.taken[zone]++
		z.picked = append(z.picked, owner)
		least = slices.Min(z.taken)
	}
	return z.picked
}
