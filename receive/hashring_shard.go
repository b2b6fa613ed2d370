package receive

import (
	"crypto/md5"
	"encoding/binary"
	"math/rand"
	"sync"
)

// shardPicker picks the shard of each tenant among the endpoints of a hashring
// with shuffle sharding: the same endpoints at any time on any receiver, others
// for other tenants.
type shardPicker struct {
	config   *shardConfig
	ring     []ketamaSection
	zones    []shardZone
	members  []uint32
	zoneOf   []string // by member
	replicas int

	mu sync.RWMutex // guards what follows
	// shards of tenants seen lately, at most config.cacheSize.
	shards map[string]*Hashring
	made   uint64
}

// shardZone is a zone, or all of them together if zones do not matter.
type shardZone struct {
	name string
	ring []ketamaSection // of its endpoints
}

func newShardPicker(config *shardConfig, ring []ketamaSection, members []uint32, zoneOf []string, replicas int) *shardPicker {
	p := &shardPicker{
		config: config, ring: ring, members: members, zoneOf: zoneOf, replicas: replicas,
		shards: make(map[string]*Hashring),
	}
	if config.zonesDisabled {
		p.zones = []shardZone{{ring: ring}}
		return p
	}
	place := map[string]int{}
	for _, section := range ring {
		name := zoneOf[section.owner]
		i, ok := place[name]
		if !ok {
			i = len(p.zones)
			place[name] = i
			p.zones = append(p.zones, shardZone{name: name})
		}
		p.zones[i].ring = append(p.zones[i].ring, section)
	}
	return p
}

// shard returns the tenant's part of the hashring.
func (p *shardPicker) shard(tenant string, ring *hashringConfig) *Hashring {
	p.mu.RLock()
	shard := p.shards[tenant]
	p.mu.RUnlock()
	if shard != nil {
		return shard
	}
	shard = p.makeShard(tenant, ring)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made++
	if _, ok := p.shards[tenant]; !ok && len(p.shards) >= p.config.cacheSize {
		// Which one goes is left to chance: that costs nothing to keep track
		// of, and does not fail when tenants come round in turns.
		for some := range p.shards {
			delete(p.shards, some)
			break
		}
	}
	p.shards[tenant] = shard
	return shard
}

// stats returns how many shards are kept and how many were made.
func (p *shardPicker) stats() (kept int, made uint64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.shards), p.made
}

// makeShard picks the endpoints and makes a ring of them. A section ends where
// it does on the full ring, so theirs are what is left of it.
func (p *shardPicker) makeShard(tenant string, config *hashringConfig) *Hashring {
	chosen := p.choose(tenant)
	shard := &Hashring{config: config, replicas: p.replicas}
	count := 0
	for member, in := range chosen {
		if in {
			shard.members = append(shard.members, p.members[member])
			count++
		}
	}
	part := make([]ketamaSection, 0, count*sectionsPerEndpoint)
	for _, section := range p.ring {
		if chosen[section.owner] {
			part = append(part, section)
		}
	}
	shard.sections = newKetamaSections(part, p.members, p.zoneOf, p.replicas)
	return shard
}

// choose tells by member who is in the tenant's shard. From each zone come as
// many, each found by going round the ring of the zone from a random hash to the
// next that is not in yet.
func (p *shardPicker) choose(tenant string) []bool {
	chosen := make([]bool, len(p.members))
	take := shardPerZone(p.config.sizeFor(tenant), len(p.zones))
	for _, zone := range p.zones {
		random := rand.New(rand.NewSource(shardSeed(tenant, zone.name)))
		for range take {
			start := searchRing(zone.ring, random.Uint64())
			for i := range zone.ring {
				owner := zone.ring[(start+i)%len(zone.ring)].owner
				if !chosen[owner] {
					chosen[owner] = true
					break
				}
			}
		}
	}
	return chosen
}

// shardPerZone returns how many endpoints of each zone make a shard of size.
func shardPerZone(size, zones int) int { return (size + zones - 1) / zones }

// shardSeed returns what the random numbers begin with: the first half of an
// MD5, as in Thanos and Cortex.
func shardSeed(tenant, zone string) int64 {
	text := []byte(tenant)
	if zone != "" {
		text = append(append(text, 0), zone...)
	}
	sum := md5.Sum(text)
	return int64(binary.BigEndian.Uint64(sum[:8]))
}
