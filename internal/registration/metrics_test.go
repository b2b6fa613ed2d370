package registration

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func counter(name string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: "h"})
}

// on returns the names of the metrics on a registry, of metrics of one series.
func on(t *testing.T, reg *prometheus.Registry) (names []string) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		names = append(names, f.GetName())
	}
	return names
}

func TestAllOrNone(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(counter("b"))
	_, err := Register(reg, "the thing", counter("a"), counter("b"), counter("c"))
	var conflict prometheus.AlreadyRegisteredError
	if !errors.As(err, &conflict) || !strings.Contains(err.Error(), "the thing") || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Errorf("error %v", err)
	}
	if got := on(t, reg); !slices.Equal(got, []string{"b"}) {
		t.Errorf("after a conflict %v are registered, want what was there before", got)
	}
}

func TestUnregisterAllFreesThePlace(t *testing.T) {
	reg := prometheus.NewRegistry()
	for range 2 {
		set, err := Register(reg, "outer", counter("a"))
		if err != nil {
			t.Fatal(err)
		}
		// What a part of the instance registers through it goes as well.
		if _, err := Register(prometheus.WrapRegistererWith(prometheus.Labels{"part": "1"}, set), "inner", counter("b")); err != nil {
			t.Fatal(err)
		}
		gone := counter("c")
		set.MustRegister(gone)
		if !set.Unregister(gone) {
			t.Error("c was not unregistered")
		}
		if got := on(t, reg); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("registered %v", got)
		}
		set.UnregisterAll()
		set.UnregisterAll()
		if got := on(t, reg); len(got) != 0 {
			t.Errorf("%v are left", got)
		}
	}
}

func TestNoRegistry(t *testing.T) {
	set, err := Register(nil, "anything", counter("a"), counter("a"))
	if err != nil || set.Err() != nil || set.Unregister(counter("a")) {
		t.Errorf("error %v", err)
	}
	set.UnregisterAll()
}
