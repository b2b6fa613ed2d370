package sortedsets

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"pgregory.net/rapid"
)

// listSet has series by the value of their one label.
type listSet struct {
	values []string
	at     int
	err    error // after the last
}

func list(values ...string) *listSet { return &listSet{values: values, at: -1} }

func (s *listSet) Next() bool { s.at++; return s.at < len(s.values) }
func (s *listSet) At() storage.ChunkSeries {
	return storage.NewListChunkSeriesFromSamples(labels.FromStrings("a", s.values[s.at]), []chunks.Sample{})
}

func (s *listSet) Err() error {
	if s.at >= len(s.values) {
		return s.err
	}
	return nil
}

func (s *listSet) Warnings() annotations.Annotations {
	return annotations.New().Add(fmt.Errorf("warning of %v", s.values))
}

func values(set storage.ChunkSeriesSet) string {
	var all []string
	for set.Next() {
		text := set.At().Labels().Get("a")
		if parts, ok := set.At().(mergedSeries); ok {
			text += fmt.Sprintf("×%d", len(parts))
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func TestJoinAndMergeAreSorted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []string
		var join, merge []storage.ChunkSeriesSet
		for range rapid.IntRange(0, 5).Draw(t, "sets") {
			one := rapid.SliceOfN(rapid.SampledFrom([]string{"1", "2", "3", "4"}), 0, 6).Draw(t, "values")
			slices.Sort(one)
			all = append(all, one...)
			join, merge = append(join, list(one...)), append(merge, list(one...))
		}
		slices.Sort(all)
		if got := values(Join(join...)); got != strings.Join(all, " ") {
			t.Fatalf("joined %s, want %v", got, all)
		}
		var want []string
		for _, v := range slices.Compact(slices.Clone(all)) {
			text := v
			if n := strings.Count(strings.Join(all, ""), v); n > 1 {
				text += fmt.Sprintf("×%d", n)
			}
			want = append(want, text)
		}
		if got := values(Merge(merge...)); got != strings.Join(want, " ") {
			t.Fatalf("merged %s, want %v", got, want)
		}
	})
}

func TestAnErrorEndsTheSet(t *testing.T) {
	broken := errors.New("broken")
	for name, read := range map[string]func(...storage.ChunkSeriesSet) storage.ChunkSeriesSet{
		"join":  Join,
		"merge": Merge,
	} {
		t.Run(name, func(t *testing.T) {
			failing := list("1", "3")
			failing.err = broken
			set := read(failing, list("2", "4", "5"))
			// The failing set may have had a 4 and a 5, too.
			if got := values(set); strings.ContainsAny(got, "45") || !errors.Is(set.Err(), broken) || set.Next() {
				t.Fatalf("got %s and %v", got, set.Err())
			}
			if n := len(set.Warnings()); n != 2 {
				t.Fatalf("%d warnings, want 2", n)
			}
		})
	}
}

func TestWarnedAddsToTheWarningsOfTheSet(t *testing.T) {
	more := annotations.New().Add(errors.New("more"))
	if n := len(Warned(list("1"), more).Warnings()); n != 2 {
		t.Errorf("%d warnings, want 2", n)
	}
	if len(more) != 1 {
		t.Errorf("the given warnings have become %v", more)
	}
	if n := len(Warned(list("1"), nil).Warnings()); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
}
