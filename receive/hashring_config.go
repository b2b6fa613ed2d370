package receive

import (
	"fmt"
	"path"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// defaultShardCacheSize is how many tenants' shards are kept where JSON does
// not say.
const defaultShardCacheSize = 100

// hashringConfig is what JSON says of one hashring.
type hashringConfig struct {
	name           string
	tenants        tenantSet
	endpoints      []Endpoint
	algorithm      HashringAlgorithm
	externalLabels labels.Labels
	shard          shardConfig
}

// shardConfig is what JSON says of shuffle sharding.
type shardConfig struct {
	size          int // 0: none
	cacheSize     int
	zonesDisabled bool
	overrides     []shardOverride
}

type shardOverride struct {
	size    int
	tenants tenantSet
}

// sizeFor returns the size of the tenant's shard: that of the first override
// that names the tenant.
func (c *shardConfig) sizeFor(tenant string) int {
	for _, o := range c.overrides {
		if o.tenants.has(tenant) {
			return o.size
		}
	}
	return c.size
}

// The ways to name tenants, as in JSON.
const (
	matchExact = "exact"
	matchGlob  = "glob"
)

// tenantSet are tenants by name or by shell pattern.
type tenantSet struct {
	names   []string
	matcher string
	exact   map[string]struct{}
}

func newTenantSet(names []string, matcher string) tenantSet {
	s := tenantSet{names: names, matcher: matcher}
	if matcher != matchGlob {
		s.exact = make(map[string]struct{}, len(names))
		for _, name := range names {
			s.exact[name] = struct{}{}
		}
	}
	return s
}

func (s tenantSet) has(tenant string) bool {
	if s.matcher != matchGlob {
		_, ok := s.exact[tenant]
		return ok
	}
	return slices.ContainsFunc(s.names, func(pattern string) bool {
		ok, err := path.Match(pattern, tenant)
		return err == nil && ok
	})
}

// lists reports whether the set has this very name, whatever a name stands for.
func (s tenantSet) lists(tenant string) bool {
	if s.matcher != matchGlob {
		return s.has(tenant)
	}
	return slices.Contains(s.names, tenant)
}

// hashringReport gathers what is wrong with one hashring.
type hashringReport func(field, format string, args ...any)

// check reports what cannot work although JSON can express it.
func (c *hashringConfig) check(replicas int, wrong hashringReport) {
	c.checkEndpoints(replicas, wrong)
	c.tenants.check("", wrong)
	switch c.algorithm {
	case AlgorithmKetama:
		c.checkShard(replicas, wrong)
	case AlgorithmHashmod:
		for i, e := range c.endpoints {
			if e.Zone != "" {
				wrong(fmt.Sprintf("endpoints[%d].az", i), "hashmod knows no zones: set algorithm to %q, or leave az out", AlgorithmKetama)
			}
		}
		if c.shard.size != 0 {
			wrong("shuffle_sharding_config.shard_size", "hashmod has no shuffle sharding: set algorithm to %q, or leave it out", AlgorithmKetama)
		}
	default:
		wrong("algorithm", "%q is not known: use %q or %q", c.algorithm, AlgorithmHashmod, AlgorithmKetama)
	}
}

func (c *hashringConfig) checkEndpoints(replicas int, wrong hashringReport) {
	first := make(map[string]int, len(c.endpoints))
	for i, e := range c.endpoints {
		if j, ok := first[e.Address]; ok && e.Address != "" {
			wrong(fmt.Sprintf("endpoints[%d]", i), "%q is endpoints[%d] already: leave one of them out", e.Address, j)
			continue
		}
		first[e.Address] = i
	}
	switch n := len(c.endpoints); {
	case n == 0:
		wrong("endpoints", "there are none: name at least one")
	case n < replicas:
		wrong("endpoints", "%d are too few for the replication factor %d: add some, or lower it", n, replicas)
	case c.algorithm == AlgorithmKetama && n*replicas > maxSectionReplicas/sectionsPerEndpoint:
		wrong("endpoints", "%d with the replication factor %d would take a table of %d MiB: put them into several hashrings, or use %q", n, replicas, n*replicas*sectionsPerEndpoint>>18, AlgorithmHashmod)
	}
}

// check reports names that are no patterns. Field is the path that they are
// under.
func (s tenantSet) check(field string, wrong hashringReport) {
	switch s.matcher {
	case matchExact, matchGlob:
	case "":
		wrong(field+"tenant_matcher_type", "it is not set, and Thanos does without such an override: use %q or %q", matchExact, matchGlob)
	default:
		wrong(field+"tenant_matcher_type", "%q is not known: use %q or %q", s.matcher, matchExact, matchGlob)
	}
	for i, name := range s.names {
		at := fmt.Sprintf("%stenants[%d]", field, i)
		if name == "" {
			wrong(at, "it is empty: name a tenant")
		} else if _, err := path.Match(name, ""); err != nil && s.matcher == matchGlob {
			wrong(at, "%q is not a shell pattern: mind brackets and a backslash at the end", name)
		}
	}
}

func (c *hashringConfig) checkShard(replicas int, wrong hashringReport) {
	const field = "shuffle_sharding_config."
	if c.shard.size == 0 {
		if len(c.shard.overrides) > 0 {
			wrong(field+"shard_size", "it is not set, so that the overrides mean nothing: set it, or leave them out")
		}
		return
	}
	c.checkShardSize(c.shard.size, replicas, field+"shard_size", wrong)
	for i, o := range c.shard.overrides {
		at := fmt.Sprintf("%soverrides[%d].", field, i)
		c.checkShardSize(o.size, replicas, at+"shard_size", wrong)
		o.tenants.check(at, wrong)
		if len(o.tenants.names) == 0 {
			wrong(at+"tenants", "there are none: name some, or leave the override out")
		}
	}
}

// checkShardSize holds a size against the endpoints there are in each zone.
func (c *hashringConfig) checkShardSize(size, replicas int, field string, wrong hashringReport) {
	if size < 1 {
		wrong(field, "%d is less than 1", size)
		return
	}
	if len(c.endpoints) == 0 {
		return
	}
	if size > len(c.endpoints) {
		wrong(field, "%d is more than the %d endpoints", size, len(c.endpoints))
		return
	}
	var zones []string
	sizes := map[string]int{}
	for _, e := range c.endpoints {
		zone := e.Zone
		if c.shard.zonesDisabled {
			zone = ""
		}
		if sizes[zone] == 0 {
			zones = append(zones, zone)
		}
		sizes[zone]++
	}
	take := shardPerZone(size, len(zones))
	if n := take * len(zones); n < replicas {
		wrong(field, "%d makes shards of %d endpoints, too few for the replication factor %d", size, n, replicas)
	}
	for _, zone := range zones {
		if have := sizes[zone]; have < take {
			wrong(field, "%d takes %d endpoints of each zone, zone %q has %d: lower it, or set zone_awareness_disabled", size, take, zone, have)
		}
	}
}
