package receive

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/internal/writepb"
)

func newRun(t *testing.T, to Appendable, body []byte) *appendRun {
	t.Helper()
	run := &newHandlerScratch().run
	run.to, run.tenant, run.limits = to, "x", appendLimits{maxTime: maxTimestamp, labelBytes: 1 << 20}
	if err := run.req.Reset(writepb.V1, body); err != nil {
		t.Fatal(err)
	}
	return run
}

// Two series whose labels have the same hash are not taken for one.
func TestHashCollision(t *testing.T) {
	body, err := v1(v1Series(named("m"), 1, 3, 2), v1Series(named("n"), 5)).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	to := newFakeStorage()
	run := newRun(t, to, body)
	other := labels.FromStrings("__name__", "other")
	run.named.table.add(labels.FromStrings("__name__", "m").Hash())
	run.named.series = append(run.named.series, namedRef{ls: other, id: 1})
	if err := run.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := run.tally.written(floatSample); got != 4 || len(to.stored) != 4 || to.commits != 2 {
		t.Errorf("%d written, stored %v in %d transactions, want all 4 in 2", got, to.stored, to.commits)
	}
}

// A storage that panics is its own affair, but must not wait for the appender
// for ever.
func TestPanickingStorageIsRolledBack(t *testing.T) {
	to := newFakeStorage()
	to.appendErr = func(labels.Labels, int64) error { panic("oops") }
	h := newTestHandler(t, to, HandlerOptions{})
	func() {
		defer func() { _ = recover() }()
		rwRequest{message: goodV1()}.send(t, h)
		t.Error("the panic was swallowed")
	}()
	if to.open != 0 {
		t.Errorf("%d appenders left open", to.open)
	}
	to.appendErr = nil
	wantAnswer(t, rwRequest{message: goodV1()}.send(t, h), 204)
}

// Once the storage fails within a request it is not asked again, and what it
// had taken before is not counted as stored.
func TestFailureEndsTheTransaction(t *testing.T) {
	to := newFakeStorage()
	var asked int
	to.appendErr = func(_ labels.Labels, ts int64) error {
		asked++
		return map[bool]error{true: errBroken}[ts == 2]
	}
	body, err := v1(v1Series(named("m"), 1, 2, 3), v1Series(named("n"), 5), v1Series([]string{"no", "name"}, 6)).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	run := newRun(t, to, body)
	if err := run.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if failed := run.tally.samples[ReasonFailed].total(); failed != 5 || asked != 2 || to.open != 0 {
		t.Errorf("%d samples failed, want 5; the storage was asked %d times, want 2; %d appenders open", failed, asked, to.open)
	}
}

// What is left over for a second transaction and fails there does not take back
// what the first has stored.
func TestFailureOfTheSecondTransaction(t *testing.T) {
	to := newFakeStorage()
	to.appendErr = func(_ labels.Labels, ts int64) error {
		return map[bool]error{true: ErrUnavailable}[ts == 1 && to.commits == 1]
	}
	body, err := v1(v1Series(named("m"), 2), v1Series(named("m"), 1)).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	run := newRun(t, to, body)
	if err := run.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if run.tally.written(floatSample) != 1 || run.tally.samples[ReasonUnavailable].total() != 1 || run.tally.status() != 503 {
		t.Errorf("verdicts %v, status %d", run.tally.samples, run.tally.status())
	}
}
