package exemplarsets

import (
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
)

// Merge returns the series of results in label order, each once, with its
// exemplars in order of time, those of the same time, value and labels once. It
// leaves results as they are.
func Merge(results []exemplar.QueryResult) []exemplar.QueryResult {
	results = slices.Clone(results)
	slices.SortStableFunc(results, func(a, b exemplar.QueryResult) int { return labels.Compare(a.SeriesLabels, b.SeriesLabels) })
	var merged []exemplar.QueryResult
	for _, r := range results {
		n := len(merged)
		if n == 0 || !labels.Equal(merged[n-1].SeriesLabels, r.SeriesLabels) {
			merged = append(merged, exemplar.QueryResult{SeriesLabels: r.SeriesLabels})
			n++
		}
		merged[n-1].Exemplars = append(merged[n-1].Exemplars, r.Exemplars...)
	}
	for i := range merged {
		list := merged[i].Exemplars
		slices.SortStableFunc(list, compare)
		merged[i].Exemplars = slices.CompactFunc(list, func(a, b exemplar.Exemplar) bool { return compare(a, b) == 0 })
	}
	return merged
}

// compare orders by time, value and labels. Unlike Prometheus' own it puts NaN
// in a place, so that it is equal to itself and to nothing else.
func compare(a, b exemplar.Exemplar) int {
	return cmp.Or(cmp.Compare(a.Ts, b.Ts), cmp.Compare(a.Value, b.Value), labels.Compare(a.Labels, b.Labels))
}
