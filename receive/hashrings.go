package receive

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

const (
	// maxHashringsBytes bounds hashrings in JSON.
	maxHashringsBytes = 8 << 20
	// maxHashringEndpoints bounds the endpoints of all hashrings together: a
	// ring takes about 25 KB for each.
	maxHashringEndpoints = 10_000
)

// HashringsOptions are the settings of Hashrings. The zero value is usable. All
// receivers of a group must have the same.
type HashringsOptions struct {
	// Algorithm is that of hashrings that name none. Default AlgorithmHashmod,
	// as in Thanos.
	Algorithm HashringAlgorithm
	// ReplicationFactor is on how many endpoints each series belongs, at most
	// 255. Default 1.
	ReplicationFactor int
}

func (o HashringsOptions) withDefaults() HashringsOptions {
	if o.Algorithm == "" {
		o.Algorithm = AlgorithmHashmod
	}
	if o.ReplicationFactor == 0 {
		o.ReplicationFactor = 1
	}
	return o
}

// Validate returns all that is wrong with the options, each by its field's
// name, or nil. Zero values are fine.
func (o HashringsOptions) Validate() error {
	o = o.withDefaults()
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if o.Algorithm != AlgorithmHashmod && o.Algorithm != AlgorithmKetama {
		wrong("Algorithm", "%q is not known: use %q or %q", o.Algorithm, AlgorithmHashmod, AlgorithmKetama)
	}
	if o.ReplicationFactor < 1 || o.ReplicationFactor > math.MaxUint8 {
		wrong("ReplicationFactor", "%d is not between 1 and %d", o.ReplicationFactor, math.MaxUint8)
	}
	return errors.Join(errs...)
}

// Hashrings say which receivers the series of each tenant belong on. They do
// not change and are safe for concurrent use. A nil *Hashrings stands for those
// that are not there yet: it has no endpoints, and Resolve returns
// ErrHashringsNotLoaded.
type Hashrings struct {
	endpoints []Endpoint
	entries   []*hashringsEntry
}

// hashringsEntry is one hashring.
type hashringsEntry struct {
	config *hashringConfig
	ring   *Hashring    // of every tenant; nil with shuffle sharding
	shards *shardPicker // nil without it
}

// ParseHashrings reads hashrings from JSON in the format of Thanos Receive
// v0.42:
//
//	[
//	  {
//	    "hashring": "team-a",
//	    "tenants": ["a", "a-*"],                    absent or empty: all tenants
//	    "tenant_matcher_type": "glob",              or "exact", the default
//	    "endpoints": [
//	      "receive-0:10901",
//	      {"address": "receive-1:10901", "capnproto_address": "receive-1:19391", "az": "eu-1a"}
//	    ],
//	    "algorithm": "ketama",                      or "hashmod"
//	    "external_labels": {"team": "a"},
//	    "shuffle_sharding_config": {                ketama only
//	      "shard_size": 3,                          endpoints a tenant; 0: no sharding
//	      "cache_size": 100,                        tenants whose shards are kept
//	      "zone_awareness_disabled": false,
//	      "overrides": [{"shard_size": 6, "tenants": ["a-big"], "tenant_matcher_type": "exact"}]
//	    }
//	  }
//	]
//
// The first hashring that takes a tenant has it. Unless zone awareness is
// disabled, a shard has as many endpoints from each zone, so that its size is
// rounded up to a multiple of the number of zones.
//
// What is wrong comes back all at once: errors.Join of *HashringError for the
// JSON, which is looked at more strictly than in Thanos (keys that are not
// known or come twice, endpoints that come twice, hashrings that no tenant
// reaches, too few endpoints, patterns that are none), or what
// HashringsOptions.Validate says. It keeps nothing of data.
func ParseHashrings(data []byte, opts HashringsOptions) (*Hashrings, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	configs, err := parseHashringConfigs(data, opts)
	if err != nil {
		return nil, err
	}
	h := &Hashrings{endpoints: allEndpoints(configs)}
	for _, c := range configs {
		h.entries = append(h.entries, newHashringsEntry(c, h.endpoints, opts.ReplicationFactor))
	}
	return h, nil
}

// parseHashringConfigs reads and checks all hashrings.
func parseHashringConfigs(data []byte, opts HashringsOptions) ([]*hashringConfig, error) {
	if len(data) > maxHashringsBytes {
		return nil, &HashringError{Index: -1, Problem: fmt.Sprintf("the text is longer than %d bytes", maxHashringsBytes)}
	}
	raw, err := readHashrings(data)
	if err != nil {
		return nil, err
	}
	var errs []error
	configs := make([]*hashringConfig, len(raw))
	for i := range raw {
		config, problems := parseHashringConfig(i, raw[i], opts)
		for _, p := range problems {
			errs = append(errs, p)
		}
		configs[i] = config
	}
	return configs, errors.Join(append(errs, checkTogether(configs)...)...)
}

// parseHashringConfig reads and checks one hashring.
func parseHashringConfig(index int, raw json.RawMessage, opts HashringsOptions) (*hashringConfig, []*HashringError) {
	var problems []*HashringError
	wrong := func(field, format string, args ...any) {
		problems = append(problems, &HashringError{Index: index, Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	reader := &hashringReader{wrong: wrong}
	config := reader.hashring(raw)
	if config.algorithm == "" {
		config.algorithm = opts.Algorithm
	}
	config.check(opts.ReplicationFactor, func(field, format string, args ...any) {
		// What could not be read is not complained of again as missing.
		if !reader.lostPart(field) {
			wrong(field, format, args...)
		}
	})
	for _, p := range problems {
		p.Hashring = config.name
	}
	if config.name == "" {
		config.name = strconv.Itoa(index)
	}
	return config, problems
}

// checkTogether returns what is wrong with the hashrings beside each other.
func checkTogether(configs []*hashringConfig) (errs []error) {
	names, total, catchAll := map[string]int{}, 0, -1
	for i, c := range configs {
		wrong := func(field, format string, args ...any) {
			errs = append(errs, &HashringError{i, c.name, field, fmt.Sprintf(format, args...)})
		}
		if j, ok := names[c.name]; ok {
			wrong("hashring", "hashring[%d] has this name already: choose another", j)
		}
		names[c.name] = i
		if catchAll >= 0 {
			wrong("", "no tenant gets here, as hashring[%d] has no tenants and so takes all: move that to the end", catchAll)
		} else if len(c.tenants.names) == 0 {
			catchAll = i
		}
		total += len(c.endpoints)
	}
	if total > maxHashringEndpoints {
		errs = append(errs, &HashringError{Index: -1, Problem: fmt.Sprintf("%d endpoints are more than the %d that are possible", total, maxHashringEndpoints)})
	}
	return errs
}

// allEndpoints returns the endpoints of all hashrings, each once, by address.
func allEndpoints(configs []*hashringConfig) (all []Endpoint) {
	for _, c := range configs {
		all = append(all, c.endpoints...)
	}
	slices.SortFunc(all, compareEndpoints)
	return slices.Compact(all)
}

func compareEndpoints(a, b Endpoint) int {
	if c := strings.Compare(a.Address, b.Address); c != 0 {
		return c
	}
	if c := strings.Compare(a.CapnProtoAddress, b.CapnProtoAddress); c != 0 {
		return c
	}
	return strings.Compare(a.Zone, b.Zone)
}

func newHashringsEntry(c *hashringConfig, all []Endpoint, replicas int) *hashringsEntry {
	slices.SortFunc(c.endpoints, compareEndpoints)
	members := make([]uint32, len(c.endpoints))
	zones := make([]string, len(c.endpoints))
	for i, e := range c.endpoints {
		at, _ := slices.BinarySearchFunc(all, e, compareEndpoints)
		members[i], zones[i] = uint32(at), e.Zone
	}
	entry := &hashringsEntry{config: c}
	if c.algorithm == AlgorithmHashmod {
		entry.ring = &Hashring{config: c, members: members, replicas: replicas}
		return entry
	}
	ring := newKetamaRing(c.endpoints)
	if c.shard.size > 0 {
		entry.shards = newShardPicker(&c.shard, ring, members, zones, replicas)
		return entry
	}
	sections := newKetamaSections(ring, members, zones, replicas)
	entry.ring = &Hashring{config: c, members: members, replicas: replicas, sections: sections}
	return entry
}

// Resolve returns the hashring of a tenant, or an error that says which tenant
// has none and that errors.Is finds ErrNoHashring or ErrHashringsNotLoaded in.
// It is for once a request: with shuffle sharding it makes the tenant's shard
// if that is not among the cache_size that are kept, which takes up to a
// millisecond for a hundred endpoints; Hashring.Place is for each series.
func (h *Hashrings) Resolve(tenant string) (*Hashring, error) {
	if h == nil {
		return nil, fmt.Errorf("tenant %q: %w", tenant, ErrHashringsNotLoaded)
	}
	for _, entry := range h.entries {
		if len(entry.config.tenants.names) > 0 && !entry.config.tenants.has(tenant) {
			continue
		}
		if entry.shards != nil {
			return entry.shards.shard(tenant, entry.config), nil
		}
		return entry.ring, nil
	}
	return nil, fmt.Errorf("tenant %q: %w: add it to one, or add a hashring without tenants, which takes all", tenant, ErrNoHashring)
}

// Endpoints returns the endpoints of all hashrings, by address, which the
// indices of Hashring.Place refer to. One that is in several hashrings with
// different zones or Cap'n Proto addresses is there more than once. The slice
// must not be changed.
func (h *Hashrings) Endpoints() []Endpoint {
	if h == nil {
		return nil
	}
	return h.endpoints
}

// ExternalLabels returns the external labels that a tenant has by the hashrings,
// for TenantsOptions.ExternalLabels: those of the first that names it. As in
// Thanos, a hashring does not name those tenants that it takes by a pattern or
// because it takes all.
func (h *Hashrings) ExternalLabels(tenant string) labels.Labels {
	if h == nil {
		return labels.EmptyLabels()
	}
	for _, entry := range h.entries {
		if entry.config.tenants.lists(tenant) {
			return entry.config.externalLabels
		}
	}
	return labels.EmptyLabels()
}
