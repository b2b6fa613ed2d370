package receive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// teamLabels are external labels of tenants that a test changes.
type teamLabels struct{ team atomic.Value }

func newTeamLabels(team string) *teamLabels {
	l := &teamLabels{}
	l.team.Store(team)
	return l
}

// of gives tenant a a team. What is the receiver's own it cannot change.
func (l *teamLabels) of(tenant string) labels.Labels {
	if tenant != "a" {
		return labels.EmptyLabels()
	}
	return labels.FromStrings("__name__", "no", "region", "theirs", "team", l.team.Load().(string), "tenant_id", "theirs")
}

func (l *teamLabels) options() TenantsOptions {
	opts := labelled("own")
	opts.ExternalLabels = l.of
	return opts
}

func teamSeries(team string) string {
	return labels.FromStrings("__name__", "up", "instance", "1", "region", "own", "team", team, "tenant_id", "a").String()
}

// Labels of one tenant are on its series and blocks and on no other's. When they
// change, the next pass shows what is in memory under the new ones, and blocks
// that were cut keep theirs.
func TestExternalLabelsOfATenant(t *testing.T) {
	leakCheck(t)
	team := newTeamLabels("x")
	tenants := openTenants(t, t.TempDir(), team.options())
	mustWrite(t, tenants, "a", base, 1, up("1"))
	mustWrite(t, tenants, "b", base, 1, up("1"))
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, tenants, "a", base+seconds(20), 2, up("1"))
	other := labels.FromStrings("__name__", "up", "instance", "1", "region", "own", "tenant_id", "b").String()
	want := func(team string) {
		t.Helper()
		points := []point{{base, 1}, {base + seconds(20), 2}}
		got := mustReadAll(t, tenants)
		if fmt.Sprint(got) != fmt.Sprint([]readSeries{{other, points[:1]}, {teamSeries(team), points}}) &&
			fmt.Sprint(got) != fmt.Sprint([]readSeries{{teamSeries(team), points}, {other, points[:1]}}) {
			t.Errorf("read %v, want those of team %s", got, team)
		}
		if got := mustReadAll(t, tenants, equal("team", team)); len(got) != 1 {
			t.Errorf("read %v by the label", got)
		}
	}
	want("x")
	heads := map[string]*head{"a": tenants.slots["a"].head, "b": tenants.slots["b"].head}

	team.team.Store("y")
	want("x") // until the next pass
	if err := tenants.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("y")
	if tenants.slots["a"].head == heads["a"] || tenants.slots["b"].head != heads["b"] {
		t.Error("a tenant was opened anew that has no other labels, or one that has was not")
	}
	heads["a"] = tenants.slots["a"].head
	if err := tenants.Compact(t.Context()); err != nil || tenants.slots["a"].head != heads["a"] {
		t.Errorf("a tenant whose labels are the same was opened anew (%v)", err)
	}
	if err := tenants.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, b := range blocksOf(t, tenants, "a") {
		external, ready := tenants.BlockLabels(filepath.Join(tenants.dir, "a"), b.ULID)
		if want := []string{"x", "y"}[i]; !ready || external.Get("team") != want || external.Get("region") != "own" {
			t.Errorf("block %d is to be shipped: %v, as %s, want team %s", i, ready, external, want)
		}
	}
}

// A tenant that has other labels but cannot be opened anew yet, as its log might
// not fit on the disk once more, is looked after as ever: what is due becomes a
// block under the labels of before.
func TestExternalLabelsThatWaitForSpace(t *testing.T) {
	leakCheck(t)
	team := newTeamLabels("x")
	tenants := openTenants(t, t.TempDir(), team.options())
	for i := range 4 {
		mustWrite(t, tenants, "a", base+seconds(10*i), 1, up("1"))
	}
	team.team.Store("y")
	tenants.space.min = math.MaxInt64
	if err := tenants.Compact(t.Context()); !errors.Is(err, ErrNoSpace) {
		t.Errorf("the pass returns %v", err)
	}
	blocks := blocksOf(t, tenants, "a")
	if len(blocks) == 0 {
		t.Fatal("nothing was cut")
	}
	tenants.space.min = 1
	if err := tenants.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := mustReadAll(t, tenants, equal("team", "y")); len(got) != 1 || len(got[0].points) != 4 {
		t.Errorf("read %v", got)
	}
	if external, ready := tenants.BlockLabels(filepath.Join(tenants.dir, "a"), blocks[0].ULID); !ready || external.Get("team") != "x" {
		t.Errorf("the block is to be shipped: %v, as %s", ready, external)
	}
}

// An idle tenant has no head to open anew: its blocks are those of before, and it
// is found by the new labels.
func TestExternalLabelsOfAnIdleTenant(t *testing.T) {
	leakCheck(t)
	team := newTeamLabels("x")
	opts := team.options()
	opts.IdleAfter = time.Nanosecond
	tenants := openTenants(t, t.TempDir(), opts)
	mustWrite(t, tenants, "a", base, 1, up("1"))
	if err := tenants.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tenants.slots["a"].idleState() == nil {
		t.Fatal("the tenant is not idle")
	}
	reading, err := tenants.ChunkQuerier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readFrom(t.Context(), reading, math.MinInt64, math.MaxInt64); err != nil || len(got) != 1 {
		t.Fatalf("read %v, %v", got, err)
	}
	team.team.Store("y")
	if err := tenants.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := mustReadAll(t, tenants, equal("team", "y")); len(got) != 1 || got[0].labels != teamSeries("y") {
		t.Errorf("read %v", got)
	}
	// A querier keeps to what it began with.
	if got, err := readFrom(t.Context(), reading, math.MinInt64, math.MaxInt64, equal("team", "x")); err != nil || len(got) != 1 || got[0].labels != teamSeries("x") {
		t.Errorf("read %v, %v by a querier of before", got, err)
	}
	if err := reading.Close(); err != nil {
		t.Error(err)
	}
	block := blocksOf(t, tenants, "a")[0].ULID
	if external, ready := tenants.BlockLabels(filepath.Join(tenants.dir, "a"), block); !ready || external.Get("team") != "x" {
		t.Errorf("the block is to be shipped: %v, as %s", ready, external)
	}
	ship(t, tenants, "a", block)
	if got := mustReadAll(t, tenants); len(got) != 0 {
		t.Errorf("read %v, which is in the bucket by other labels", got)
	}
}

// A query that takes long holds up the change of labels, and no write.
func TestExternalLabelsWaitForQueriesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		team := newTeamLabels("x")
		tenants := openTenants(t, t.TempDir(), team.options())
		mustWrite(t, tenants, "a", base, 1, up("1"))
		h, err := tenants.slots["a"].reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		team.team.Store("y")
		pass, written := make(chan error, 1), make(chan error, 1)
		go func() { pass <- tenants.Compact(t.Context()) }()
		synctest.Wait()
		go func() { written <- write(t.Context(), tenants, "a", base+1, 1, up("1")) }()
		synctest.Wait()
		select {
		case err := <-written:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("a write waits for the query")
		}
		h.leave()
		if err := <-pass; err != nil {
			t.Error(err)
		}
		if got := mustReadAll(t, tenants, equal("team", "y")); len(got) != 1 || len(got[0].points) != 2 {
			t.Errorf("read %v", got)
		}
	})
}

// While labels change, what is written is taken, and every read finds all of it,
// under one set of labels: no stream is passed by because its head is between two.
func TestExternalLabelsChangeUnderLoad(t *testing.T) {
	leakCheck(t)
	team := newTeamLabels("0")
	opts := team.options()
	opts.OutOfOrderWindow = time.Hour
	tenants := openTenants(t, t.TempDir(), opts)
	mustWrite(t, tenants, "a", base, 0, up("1"))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var written atomic.Int64
	wg.Go(func() {
		for i := int64(1); ctx.Err() == nil; i++ {
			if err := write(t.Context(), tenants, "a", base+i, float64(i), up("1")); err != nil {
				t.Errorf("sample %d: %v", i, err)
				return
			}
			written.Store(i)
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			streams := 0
			tenants.Streams(func(labels.Labels, int64, int64) bool { streams++; return true })
			if streams != 1 {
				t.Errorf("there are %d streams", streams)
				return
			}
			least := int(written.Load()) + 1
			if got, err := read(t.Context(), tenants, math.MinInt64, math.MaxInt64); err != nil || len(got) != 1 || len(got[0].points) < least {
				t.Errorf("read %d series, %v, want one of %d samples", len(got), err, least)
				return
			}
		}
	})
	for i := range 20 {
		team.team.Store(fmt.Sprint(i + 1))
		if err := tenants.Compact(t.Context()); err != nil {
			t.Error(err)
		}
	}
	stop()
	wg.Wait()
	if got := mustReadAll(t, tenants); len(got) != 1 || got[0].labels != teamSeries("20") || len(got[0].points) != int(written.Load())+1 {
		t.Errorf("%d series in the end, want one of team 20 with %d samples", len(got), written.Load()+1)
	}
}
