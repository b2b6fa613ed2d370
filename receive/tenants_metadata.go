package receive

import (
	"context"
	"strings"
	"sync"

	"github.com/prometheus/prometheus/model/metadata"

	"github.com/varve-tsdb/varve/internal/readopts"
)

// metadataOverhead is what an entry costs beside its text: two string headers
// and more in the map, roughly.
const metadataOverhead = 128

// maxMetadataShare is the part of the budget, as a divisor, that one entry may
// take, lest one long help text pushes out everything else.
const maxMetadataShare = 8

// metadataStore keeps a tenant's metric metadata in memory within a budget in
// bytes. It has two generations of half the budget each: what is heard of again
// moves to the young one, and when that is full the old one is forgotten.
type metadataStore struct {
	budget int // bytes

	mu         sync.Mutex
	young, old map[string]metadata.Metadata
	size       int // of young, bytes
}

// set remembers m as the metadata of a metric family, and returns both as
// strings that the caller may keep.
func (s *metadataStore) set(family string, m metadata.Metadata) (string, metadata.Metadata) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.young[family]; ok && known == m {
		return family, known
	}
	family = strings.Clone(family)
	m = metadata.Metadata{Type: m.Type, Unit: strings.Clone(m.Unit), Help: strings.Clone(m.Help)}
	size := len(family) + len(m.Unit) + len(m.Help) + metadataOverhead
	if family == "" || size > s.budget/maxMetadataShare {
		return family, m
	}
	if known, ok := s.young[family]; ok {
		s.size -= len(family) + len(known.Unit) + len(known.Help) + metadataOverhead
		delete(s.young, family)
	}
	if s.young == nil || s.size+size > s.budget/2 {
		s.old, s.young, s.size = s.young, map[string]metadata.Metadata{}, 0
	}
	s.young[family] = m
	s.size += size
	return family, m
}

// forget drops everything.
func (s *metadataStore) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.young, s.old, s.size = nil, nil, 0
}

// collect adds what is known, of all metrics or of one, to into. It stops at
// limit metrics if limit is positive.
func (s *metadataStore) collect(into map[string][]metadata.Metadata, metric string, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if metric != "" {
		if m, ok := s.young[metric]; ok {
			addMetadata(into, metric, m, limit)
		} else if m, ok := s.old[metric]; ok {
			addMetadata(into, metric, m, limit)
		}
		return
	}
	for family, m := range s.young {
		addMetadata(into, family, m, limit)
	}
	for family, m := range s.old {
		if _, newer := s.young[family]; !newer {
			addMetadata(into, family, m, limit)
		}
	}
}

func addMetadata(into map[string][]metadata.Metadata, family string, m metadata.Metadata, limit int) {
	known, ok := into[family]
	if !ok && limit > 0 && len(into) >= limit {
		return
	}
	for _, k := range known {
		if k.Equals(m) {
			return
		}
	}
	into[family] = append(known, m)
}

// AppendMetadata remembers the metadata of a metric family, which replaces what
// was known of it. It is kept in memory only: after a restart it is known again
// once a sender has repeated it. It makes no new tenant: for one that does not
// exist it is an error, and the sender repeats it. The strings may be reused by
// the caller.
func (t *Tenants) AppendMetadata(ctx context.Context, tenant, family string, m metadata.Metadata) error {
	slot, err := t.existing(tenant)
	if err != nil {
		return err
	}
	if err := slot.available(ctx); err != nil {
		return err
	}
	if !m.IsEmpty() {
		slot.metadata.set(family, m)
	}
	return nil
}

// MetricMetadata returns the known metadata of one metric family, or of all if
// metric is empty, over all tenants or the one that the read options name.
// A positive limit bounds the number of metric families.
func (t *Tenants) MetricMetadata(ctx context.Context, metric string, limit int) (map[string][]metadata.Metadata, error) {
	slots, err := t.all()
	if err != nil {
		return nil, err
	}
	only := readopts.From(ctx).Tenant
	out := map[string][]metadata.Metadata{}
	for _, slot := range slots {
		if only == "" || slot.name == only {
			slot.metadata.collect(out, metric, limit)
		}
	}
	return out, nil
}
