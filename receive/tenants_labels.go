package receive

import (
	"context"
	"fmt"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// externalOf returns the external labels that a tenant has by now.
func (t *Tenants) externalOf(tenant string) labels.Labels {
	builder := labels.NewBuilder(labels.EmptyLabels())
	if t.opts.ExternalLabels != nil {
		builder.Reset(t.opts.ExternalLabels(tenant))
		builder.Del(model.MetricNameLabel)
	}
	t.opts.Labels.Range(func(l labels.Label) { builder.Set(l.Name, l.Value) })
	return builder.Set(t.opts.TenantLabel, tenant).Labels()
}

// labels returns the external labels that the tenant shows.
func (s *slot) labels() labels.Labels {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.external
}

// relabel has the tenant show the external labels it has by now. The caller must
// have locked the slot, and there must be no head.
func (s *slot) relabel() {
	external := s.tenants.externalOf(s.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.external = external
}

// relabelled tells whether the external labels have become others.
func (s *slot) relabelled() bool {
	return s.tenants.opts.ExternalLabels != nil && !labels.Equal(s.labels(), s.tenants.externalOf(s.name))
}

// relabelHead opens a healthy head anew under the external labels of now, which
// notes the labels that its blocks were cut under.
func (s *slot) relabelHead(ctx context.Context, h *head) error {
	if err := s.tenants.space.look(h.replaySize()); err != nil {
		return &TenantError{Tenant: s.name, External: s.labels(), Kind: ErrNoSpace, Err: err}
	}
	waiting, cancel := context.WithTimeout(ctx, replaceWait)
	defer cancel()
	s.setBetween(true)
	if err := s.closeHead(waiting, h, nil); err != nil {
		s.setBetween(false)
		return fmt.Errorf("tenant %q: its external labels have changed: %w", s.name, err)
	}
	_, err := s.open()
	return err
}

// relabelIdle is relabelHead for a tenant that is idle.
func (s *slot) relabelIdle(before *idleBlocks) error {
	was := s.labels()
	s.relabel()
	blocks, err := s.newHead().idle()
	s.mu.Lock()
	if err != nil {
		s.external = was
	} else {
		s.idle = blocks
	}
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("tenant %q: its external labels have changed: %w", s.name, err)
	}
	before.retire()
	return nil
}

func (s *slot) setBetween(between bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.between = between
}
