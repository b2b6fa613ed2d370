package querytest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// Options of the suite. The zero value is a test of everything.
type Options struct {
	// External labels of the streams the backend is to hold, one label set a
	// stream, all different. Nil means three streams, as two replicas and a
	// third cluster would be. A backend without external labels passes one
	// empty set.
	External []labels.Labels
	// Exemplars says that the backend stores the exemplars of Data and has
	// ExemplarQuerier.
	Exemplars bool
	// Metadata says that the backend stores the metadata of Data and has
	// MetricMetadata.
	Metadata bool
}

// Open returns a backend that holds data. What it opened it closes by t.Cleanup.
type Open func(t *testing.T, data Data) storage.ChunkQueryable

// streamer and stripper are the optional interfaces of a ChunkQueryable.
type (
	streamer interface {
		Streams(yield func(external labels.Labels, mint, maxt int64) bool)
	}
	stripper interface {
		ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error)
	}
)

// DefaultExternal returns the external labels that Options.External stands for
// if it is nil.
func DefaultExternal() []labels.Labels {
	return []labels.Labels{
		labels.FromStrings("cluster", "eu", "replica", "1"),
		labels.FromStrings("cluster", "eu", "replica", "2"),
		labels.FromStrings("cluster", "us"),
	}
}

// Run tests the backend that open opens. Each group of questions opens it once
// for each of a few sets of data, an empty one among them.
func Run(t *testing.T, opts Options, open Open) {
	if opts.External == nil {
		opts.External = DefaultExternal()
	}
	for _, set := range []struct {
		name string
		data Data
	}{
		{"kinds", Kinds(opts.External...)},
		{"many", Many(1, opts.External...)},
		{"empty", Data{}},
	} {
		t.Run(set.name, func(t *testing.T) {
			s := &suite{opts: opts, data: set.data, model: NewModel(set.data), backend: open(t, set.data.clone())}
			s.prepare()
			s.run(t)
		})
	}
}

// suite is one backend that holds one Data, next to the model with the same.
type suite struct {
	opts    Options
	data    Data
	model   *Model
	backend storage.ChunkQueryable

	all    []expected          // all series
	names  []string            // label names to draw from
	values map[string][]string // values by name
}

func (s *suite) run(t *testing.T) {
	t.Run("select", func(t *testing.T) { s.check(t, s.selects) })
	t.Run("named selects", s.namedSelects)
	t.Run("two selects of one querier", func(t *testing.T) { s.check(t, s.twoSelects) })
	t.Run("label names", func(t *testing.T) { s.check(t, s.labelNames) })
	t.Run("label values", func(t *testing.T) { s.check(t, s.labelValues) })
	t.Run("side by side", s.sideBySide)
	t.Run("canceled", s.canceled)
	t.Run("streams", s.streams)
	t.Run("without labels", func(t *testing.T) {
		if _, ok := s.backend.(stripper); !ok {
			t.Skip("no ChunkQuerierWithout")
		}
		s.check(t, s.without)
	})
	if s.opts.Exemplars {
		t.Run("exemplars", s.exemplars)
	}
	if s.opts.Metadata {
		t.Run("metadata", s.metadata)
	}
}

// check asks questions at random and reports the first answer that is wrong,
// with the smallest question that rapid can find.
func (s *suite) check(t *testing.T, ask func(draw *rapid.T) error) {
	rapid.Check(t, func(draw *rapid.T) {
		if err := ask(draw); err != nil {
			draw.Fatal(err)
		}
	})
}

// querier opens one for the inclusive range, hands it to use and closes it.
func (s *suite) querier(mint, maxt int64, use func(storage.ChunkQuerier) error) error {
	q, err := s.backend.ChunkQuerier(mint, maxt)
	if err != nil {
		return fmt.Errorf("open querier [%d, %d]: %w", mint, maxt, err)
	}
	used := use(q)
	if err := q.Close(); err != nil && used == nil {
		return fmt.Errorf("close querier: %w", err)
	}
	return used
}

// inTime runs f and fails if it does not return in good time.
func inTime(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(30 * time.Second):
		return fmt.Errorf("no answer after 30 s; context: %w", context.Cause(ctx))
	}
}
