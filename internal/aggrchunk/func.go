package aggrchunk

import (
	"strings"
	"time"
)

// ForFunc returns the aggregates that a PromQL function works on, by its name as
// storage.SelectHints has it: the innermost function or aggregation around a
// selector. Count and Sum together mean the average of each window. It is the
// table of Thanos' querier (pkg/query/querier.go). The plain aggregation sum wants
// averages: it adds up series, not time.
func ForFunc(name string) []Aggregate {
	switch name {
	case "increase", "rate", "irate", "resets", "xincrease", "xrate":
		return []Aggregate{Counter}
	case "min":
		return []Aggregate{Min}
	case "max":
		return []Aggregate{Max}
	case "count":
		return []Aggregate{Count}
	}
	for prefix, a := range map[string]Aggregate{"min_": Min, "max_": Max, "count_": Count, "sum_": Sum} {
		if strings.HasPrefix(name, prefix) {
			return []Aggregate{a}
		}
	}
	return []Aggregate{Count, Sum}
}

// CapResolution returns the coarsest resolution that makes sense for a function
// over a range of time, 0 for none, if the reader accepts most. Functions that need
// two samples find them only if the resolution is half the range or finer.
func CapResolution(most time.Duration, function string, rng time.Duration) time.Duration {
	switch function {
	case "rate", "irate", "increase", "delta", "idelta", "deriv", "predict_linear", "holt_winters", "double_exponential_smoothing":
		if rng > 0 {
			return min(most, rng/2)
		}
	}
	return most
}
