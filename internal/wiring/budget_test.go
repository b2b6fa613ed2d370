package wiring

import (
	"net/http"
	"strings"
	"testing"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query"
)

// What a query holds stays below its budget, whether it is answered or refused.
func TestLiveHeapStaysBelowTheBudget(t *testing.T) {
	const blocks, budget = 16, 64 << 20
	m := openBlocks(t, blocktest.Grid{Metrics: 100, Instances: 400, Samples: 60}, blocks, query.BudgetOptions{QueryBytes: budget}, nil)
	instant, whole := m.all()
	m.ask(t, `count({instance="none"})`) // builds headers
	for _, c := range []struct {
		expr string
		code int
	}{
		{instant, http.StatusUnprocessableEntity},
		{whole, http.StatusUnprocessableEntity},
		{`count by (__name__) ({__name__=~".+",cluster="c-001"})`, http.StatusOK},
		{`count by (__name__) ({__name__=~".+",instance=~"host-00000.*",job!=""})`, http.StatusOK},
	} {
		var got answered
		peak := peakHeap(func() { got = m.ask(t, c.expr) })
		if got.code != c.code {
			t.Errorf("%s: %d %s", c.expr, got.code, got.Error)
		}
		if got.code != http.StatusOK && !strings.Contains(got.Error, "QueryBytes") {
			t.Errorf("%s: the error %q does not name the limit", c.expr, got.Error)
		}
		t.Logf("%s: %d, live heap +%d KiB, accounted for %d KiB, %s", c.expr, got.code, peak>>10, got.Data.Stats.Cost.PeakBytes>>10, got.Error)
		if peak > budget {
			t.Errorf("%s: the live heap grew by %d bytes, more than the budget of %d", c.expr, peak, budget)
		}
		if used := m.budget.InUse(); used != 0 {
			t.Errorf("%s: %d bytes of the budget are still in use", c.expr, used)
		}
	}
}

// A query that cannot fit is refused by what headers say, before it has fetched
// anything.
func TestHopelessQueryMakesNoRequest(t *testing.T) {
	var seen *objstoretest.Recorder
	m := openBlocks(t, blocktest.Grid{Metrics: 10, Instances: 100, Samples: 30}, 3, query.BudgetOptions{QueryBytes: 256 << 10},
		func(b objstore.Bucket) objstore.Bucket { seen = objstoretest.NewRecorder(b); return seen })
	_, whole := m.all()
	if got := m.ask(t, `count({instance="none"})`); got.code != http.StatusOK {
		t.Fatal(got.Error)
	}
	seen.Reset()
	got := m.ask(t, whole)
	if got.code != http.StatusUnprocessableEntity || !strings.Contains(got.Error, "at least") || !strings.Contains(got.Error, "256 KiB") {
		t.Errorf("%d %s", got.code, got.Error)
	}
	if log := seen.Log(); len(log) != 0 {
		t.Errorf("%d requests were made: %v", len(log), log)
	}
}
