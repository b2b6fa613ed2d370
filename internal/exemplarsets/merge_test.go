package exemplarsets

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
)

var opts = cmp.Options{cmp.Comparer(labels.Equal), cmpopts.EquateNaNs()}

func TestMerge(t *testing.T) {
	one := func(ts int64, v float64, trace string) exemplar.Exemplar {
		return exemplar.Exemplar{Labels: labels.FromStrings("trace", trace), Value: v, Ts: ts, HasTs: true}
	}
	series := func(name string, list ...exemplar.Exemplar) exemplar.QueryResult {
		return exemplar.QueryResult{SeriesLabels: labels.FromStrings("__name__", name), Exemplars: list}
	}
	nan := math.NaN()
	given := []exemplar.QueryResult{
		series("b", one(2, nan, "x"), one(3, 1, "x")),
		series("a", one(1, 1, "x")),
		series("b", one(1, 1, "x"), one(2, nan, "x"), one(2, 1, "x"), one(3, 1, "y"), one(3, 1, "x")),
	}
	before := slices.Clone(given)
	for i := range before {
		before[i].Exemplars = slices.Clone(given[i].Exemplars)
	}
	want := []exemplar.QueryResult{
		series("a", one(1, 1, "x")),
		series("b", one(1, 1, "x"), one(2, nan, "x"), one(2, 1, "x"), one(3, 1, "x"), one(3, 1, "y")),
	}
	if diff := cmp.Diff(want, Merge(given), opts); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, given, opts); diff != "" {
		t.Errorf("what was given has changed:\n%s", diff)
	}
	if got := Merge(nil); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
