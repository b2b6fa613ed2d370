package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

const ringSeries = 300

// ringBatch is a sample of each of many series, floats and histograms.
func ringBatch(at time.Time) (series []prompb.TimeSeries) {
	for i := range ringSeries {
		s := prompb.TimeSeries{Labels: []prompb.Label{
			{Name: "__name__", Value: fmt.Sprintf("ring_%d", i%7)}, {Name: "instance", Value: fmt.Sprint(i)}, {Name: "job", Value: "e2e"},
		}}
		if i%10 == 0 {
			s.Histograms = []prompb.Histogram{prompb.FromIntHistogram(at.UnixMilli(), tsdbutil.GenerateTestHistogram(int64(i)))}
		} else {
			s.Samples = []prompb.Sample{{Value: float64(i), Timestamp: at.UnixMilli()}}
		}
		series = append(series, s)
	}
	return series
}

// batchText is a batch as stored writes it.
func batchText(batch []prompb.TimeSeries) map[string]bool {
	out := map[string]bool{}
	for _, s := range batch {
		labels := fmt.Sprintf("{__name__=%q, instance=%q, job=%q}", s.Labels[0].Value, s.Labels[1].Value, s.Labels[2].Value)
		for _, v := range s.Samples {
			out[fmt.Sprintf("%s %v@%d", labels, v.Value, v.Timestamp)] = true
		}
		for _, h := range s.Histograms {
			out[fmt.Sprintf("%s count %v sum %v@%d", labels, float64(h.GetCountInt()), h.Sum, h.Timestamp)] = true
		}
	}
	return out
}

// copiesOf returns an error unless each sample of a batch is stored by so many of
// some receivers, which may be running.
func copiesOf(t *testing.T, batch []prompb.TimeSeries, copies int, members ...*receiver) error {
	t.Helper()
	found := map[string]int{}
	for _, r := range members {
		stored, err := r.onDisk(t, "default-tenant")
		if err != nil {
			return err
		}
		for series, samples := range stored {
			for _, sample := range samples {
				found[series+" "+sample]++
			}
		}
	}
	few := 0
	var one string
	for sample := range batchText(batch) {
		if found[sample] < copies {
			few++
			one = fmt.Sprintf("%s on %d", sample, found[sample])
		}
	}
	if few > 0 {
		return fmt.Errorf("%d samples of %d are not on %d receivers, %s", few, len(batch), copies, one)
	}
	return nil
}

// spread has a receiver take a batch again and again until there are so many
// copies of it: an answer says that there is a quorum, and receivers that have just
// started do not reach each other at once.
func spread(t *testing.T, to *receiver, batch []prompb.TimeSeries, copies int, members ...*receiver) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		if status, text := to.send(t, batch); status/100 != 2 {
			return fmt.Errorf("%s answers %d: %s", to.name, status, text)
		}
		return copiesOf(t, batch, copies, members...)
	})
}
