package receive

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// TestOutcomesAreTrue appends any requests, some series of them only, to a
// storage that refuses some samples and fails now and then. A series that is
// said to be stored is there with all its samples, one that was not to be
// appended is not, and the gravest of the outcomes is the gravest of the tally.
func TestOutcomesAreTrue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		to := newFakeStorage()
		run := &newHandlerScratch().run
		for range rapid.IntRange(1, 4).Draw(rt, "requests") {
			checkOutcomes(rt, to, run)
		}
	})
}

func checkOutcomes(t *rapid.T, to *fakeStorage, run *appendRun) {
	msg := v1()
	for range rapid.IntRange(0, 6).Draw(t, "series") {
		name := named(fmt.Sprint("m", rapid.IntRange(0, 3).Draw(t, "name")))
		if rapid.IntRange(0, 9).Draw(t, "bad") == 0 {
			name = []string{"x", "y"}
		}
		s := v1Series(name)
		for range rapid.IntRange(0, 3).Draw(t, "samples") {
			at := base + rapid.Int64Range(0, 6).Draw(t, "time")
			s.Samples = append(s.Samples, v1Series(nil, at).Samples...)
			s.Samples[len(s.Samples)-1].Value = float64(rapid.IntRange(0, 1).Draw(t, "value"))
		}
		msg.Timeseries = append(msg.Timeseries, s)
	}
	refused := rapid.Int64Range(0, 12).Draw(t, "refused time")
	to.appendErr = func(_ labels.Labels, at int64) error {
		if at == base+refused {
			return storage.ErrTooOldSample
		}
		return nil
	}
	to.commitErr, to.appenderErr = nil, nil
	switch rapid.IntRange(0, 9).Draw(t, "fault") {
	case 0:
		to.commitErr = errBroken
	case 1:
		to.appenderErr = errBroken
	}
	body, err := msg.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.req.Reset(writepb.V1, body); err != nil {
		t.Fatal(err)
	}
	run.to, run.tenant = to, "team"
	run.limits = appendLimits{maxTime: maxTimestamp, labelBytes: 1 << 20}
	run.askOutcomes()
	picked := map[int]bool{}
	if rapid.Bool().Draw(t, "picky") {
		var some []uint32
		for i := range msg.Timeseries {
			if rapid.Bool().Draw(t, "picked") {
				some, picked[i] = append(some, uint32(i)), true
			}
		}
		run.pick(some)
	} else {
		for i := range msg.Timeseries {
			picked[i] = true
		}
	}
	before := len(to.stored)
	if err := run.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var gravest Reason
	there := map[string]bool{}
	for _, s := range to.stored {
		there[s.String()] = true
	}
	wanted := map[string]bool{}
	for i, s := range msg.Timeseries {
		outcome := run.outcomes[i].reason
		gravest = graver(gravest, outcome)
		var missing bool
		for _, p := range s.Samples {
			want := fakeSample{tenant: "team", series: fmt.Sprintf(`{__name__="%s"}`, seriesName(s)), t: p.Timestamp, val: sampleValue{v: p.Value}}
			missing = missing || !there[want.String()]
			if picked[i] {
				wanted[want.String()] = true
			}
		}
		switch {
		case !picked[i] && outcome != ReasonStored:
			t.Fatalf("series %d was not appended and is %s", i, outcome)
		case picked[i] && outcome.Class() == Accepted && missing:
			t.Fatalf("series %d is %s and not there: %v, of %v", i, outcome, s, to.stored)
		case picked[i] && outcome.Class() != Accepted && !missing && len(s.Samples) > 0 && to.commitErr == nil && to.appenderErr == nil && outcome.Class() == Retryable:
			t.Fatalf("series %d is there and %s", i, outcome)
		}
	}
	for _, s := range to.stored[before:] {
		if !wanted[s.String()] {
			t.Fatalf("%s was not to be appended", s)
		}
	}
	var tallied Reason
	for r := range numReasons {
		if run.tally.samples[r].total()+run.tally.others[r] > 0 && r.Class() != Accepted {
			tallied = graver(tallied, r)
		}
	}
	if tallied != gravest {
		t.Fatalf("the gravest outcome is %s, in the tally %s", gravest, tallied)
	}
	run.forget()
}
