package registration

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Set is the metrics of one instance. It is a Registerer that never panics, for
// those who would with another: it is of no use to hand it more after Err has
// told of a conflict. It must not be used concurrently.
type Set struct {
	reg  prometheus.Registerer // nil for none
	what string
	on   []prometheus.Collector // what is on reg
	err  error
}

// NewSet returns an empty set for a registry, which may be nil. what names the
// instance in errors.
func NewSet(reg prometheus.Registerer, what string) *Set { return &Set{reg: reg, what: what} }

// Register is NewSet for metrics that are all there.
func Register(reg prometheus.Registerer, what string, all ...prometheus.Collector) (*Set, error) {
	s := NewSet(reg, what)
	s.MustRegister(all...)
	return s, s.Err()
}

// Register adds c. After the first conflict nothing of the set is on the
// registry, and nothing gets there.
func (s *Set) Register(c prometheus.Collector) error {
	if s.reg == nil || s.err != nil {
		return s.err
	}
	if err := s.reg.Register(c); err != nil {
		s.UnregisterAll()
		s.err = fmt.Errorf("register metrics of %s: %w: for several instances on one registry, wrap it for "+
			"each with prometheus.WrapRegistererWith, with another value of the same label", s.what, err)
		return s.err
	}
	s.on = append(s.on, c)
	return nil
}

// MustRegister adds several. Err tells of a conflict.
func (s *Set) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		_ = s.Register(c) // Err has it
	}
}

// Unregister takes c off the registry again.
func (s *Set) Unregister(c prometheus.Collector) bool {
	if s.reg == nil {
		return false
	}
	s.on = slices.DeleteFunc(s.on, func(other prometheus.Collector) bool { return other == c })
	return s.reg.Unregister(c)
}

// Err returns the first conflict, which says what to do.
func (s *Set) Err() error { return s.err }

// UnregisterAll takes what is left of the set off the registry. It may be called
// twice.
func (s *Set) UnregisterAll() {
	for _, c := range slices.Backward(s.on) {
		s.reg.Unregister(c)
	}
	s.on = nil
}
