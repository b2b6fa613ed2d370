package receive

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// What was acknowledged is there after a restart, also if another transaction
// was making its series and was rolled back later.
func TestSeriesOfAnotherTransaction(t *testing.T) {
	for _, end := range []string{"commit", "rollback", "too late"} {
		t.Run(end, func(t *testing.T) {
			dir := t.TempDir()
			tenants := openTenants(t, dir, TenantsOptions{})
			first, second := mustAppender(t, tenants), mustAppender(t, tenants)
			if _, err := first.Append(0, up("new"), 0, base, 1, nil, nil, storage.AOptions{}); err != nil {
				t.Fatal(err)
			}
			if ref, _ := second.(storage.GetRef).GetRef(up("new"), up("new").Hash()); ref != 0 {
				t.Error("a series that is not logged yet is offered by reference")
			}
			done := make(chan error, 1)
			go func() {
				_, err := second.Append(0, up("new"), 0, base+1, 1, nil, nil, storage.AOptions{})
				done <- err
			}()
			finish := map[string]func() error{"commit": first.Commit, "rollback": first.Rollback, "too late": func() error { return nil }}[end]
			time.Sleep(20 * time.Millisecond)
			if err := finish(); err != nil {
				t.Fatal(err)
			}
			err := <-done
			if end == "too late" {
				if errors.Is(err, ErrSeriesUnlogged) || ReasonOf(err) != ReasonUnavailable {
					t.Errorf("append without the end of the other: %v", err)
				}
				if err := errors.Join(first.Rollback(), second.Rollback()); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err := errors.Join(err, second.Commit(), tenants.Close()); err != nil {
				t.Fatal(err)
			}
			tenants = openTenants(t, dir, TenantsOptions{})
			want := map[string]int{"commit": 2, "rollback": 1}[end]
			if got := mustReadAll(t, tenants, equal("instance", "new")); len(got) != 1 || len(got[0].points) != want {
				t.Errorf("after a restart: %v", got)
			}
		})
	}
}

// Two transactions that each want a series of the other do not wait for each
// other: they are told at once.
func TestSeriesOfEachOther(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	add := func(app storage.AppenderV2, instance string, ts int64) error {
		_, err := app.Append(0, up(instance), 0, ts, 1, nil, nil, storage.AOptions{})
		return err
	}
	first, second := mustAppender(t, tenants), mustAppender(t, tenants)
	if err := errors.Join(add(first, "one", base), add(second, "two", base)); err != nil {
		t.Fatal(err)
	}
	if err := add(first, "two", base+1); !errors.Is(err, ErrSeriesUnlogged) || ReasonOf(err) != ReasonUnavailable {
		t.Fatalf("a series of the second: %v", err)
	}
	if err := errors.Join(first.Commit(), add(second, "one", base+1), second.Commit()); err != nil {
		t.Fatal(err)
	}
	if got := mustReadAll(t, tenants); len(got) != 2 {
		t.Errorf("stored: %v", got)
	}
}

// A series that a transaction makes stays its own when it comes again by its
// labels, whatever was appended to in between.
func TestSeriesComesAgainByItsLabels(t *testing.T) {
	dir := t.TempDir()
	tenants := openTenants(t, dir, TenantsOptions{})
	add := func(app storage.AppenderV2, instance string, ts int64) error {
		_, err := app.Append(0, up(instance), 0, ts, 1, nil, nil, storage.AOptions{})
		return err
	}
	before := mustAppender(t, tenants)
	if err := errors.Join(add(before, "old", base), before.Commit()); err != nil {
		t.Fatal(err)
	}
	first, second := mustAppender(t, tenants), mustAppender(t, tenants)
	if err := errors.Join(add(first, "new", base), add(first, "old", base+1), add(first, "new", base+1)); err != nil {
		t.Fatal(err)
	}
	if ref, _ := second.(storage.GetRef).GetRef(up("new"), up("new").Hash()); ref != 0 {
		t.Error("a series that is not logged yet is offered by reference")
	}
	done := make(chan error, 1)
	go func() { done <- errors.Join(add(second, "new", base+2), second.Commit()) }()
	time.Sleep(20 * time.Millisecond)
	if err := errors.Join(first.Commit(), <-done, tenants.Close()); err != nil {
		t.Fatal(err)
	}
	tenants = openTenants(t, dir, TenantsOptions{})
	if got := mustReadAll(t, tenants, equal("instance", "new")); len(got) != 1 || len(got[0].points) != 3 {
		t.Errorf("after a restart: %v", got)
	}
}

// However transactions claim series, make them or find them there, and end, each
// series has the owner that it should have, and nothing is kept of others.
func TestClaimsAgainstModel(t *testing.T) {
	const series = 100
	rapid.Check(t, func(t *rapid.T) {
		table, _ := newClaimTable().(*claimTable)
		u := &unloggedSeries{tables: &sync.Pool{New: func() any { return table }}, strict: true}
		apps := [3]*headAppender{{}, {}, {}}
		owners := map[string]*headAppender{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			a := apps[rapid.IntRange(0, 2).Draw(t, "transaction")]
			if rapid.IntRange(0, 9).Draw(t, "end") == 0 {
				maps.DeleteFunc(owners, func(_ string, of *headAppender) bool { return of == a })
				u.end(a)
				continue
			}
			instance := fmt.Sprint(rapid.IntRange(0, series-1).Draw(t, "series"))
			ls, of := up(instance), owners[instance]
			free, ended := u.take(a, ls.Hash())
			if free != nil {
				t.Fatal("a claim of a moment is left")
			}
			if foreign := of != nil && of != a; foreign != (ended != nil) {
				t.Fatalf("series %s is another's: %v, but is given: %v", instance, foreign, ended == nil)
			}
			if ended != nil {
				continue
			}
			if of == nil && rapid.Bool().Draw(t, "new") {
				if err := u.PreCreation(ls); err != nil {
					t.Fatal(err)
				}
				owners[instance] = a
			}
			u.release(a, ls.Hash())
			for i := range series {
				instance, hash := fmt.Sprint(i), up(fmt.Sprint(i)).Hash()
				if got := u.owner(hash); got != owners[instance] {
					t.Fatalf("the owner of %d is %p, want %p", i, got, owners[instance])
				}
			}
			if table.n != len(owners) || (u.table == nil) != (len(owners) == 0) {
				t.Fatalf("%d claims, want %d", table.n, len(owners))
			}
		}
		for _, a := range apps {
			u.end(a)
		}
		for _, c := range table.slots {
			if u.table != nil || c.owner != nil {
				t.Fatalf("%d has an owner that has ended", c.hash)
			}
		}
	})
}

// An appender may append to what exists while another is open, and has its own
// series by reference.
func TestSeriesThatExistsIsNobodys(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	write := func(app storage.AppenderV2, ref storage.SeriesRef, ts int64) storage.SeriesRef {
		ref, err := app.Append(ref, up("old"), 0, ts, 1, nil, nil, storage.AOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	app := mustAppender(t, tenants)
	ref := write(app, 0, base)
	if again, _ := app.(storage.GetRef).GetRef(up("old"), up("old").Hash()); again != ref {
		t.Errorf("its own series has reference %d, then %d", ref, again)
	}
	write(app, ref, base+1)
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	first, second := mustAppender(t, tenants), mustAppender(t, tenants)
	write(first, 0, base+2)
	write(second, 0, base+2)
	write(first, 1<<40, base+3) // a reference that the head has dropped
	if err := errors.Join(first.Commit(), second.Commit()); err != nil {
		t.Fatal(err)
	}
}

// Senders that make the same series at once, in any order and in several
// batches of one series, are all told that their samples are stored, and they
// are, after a restart too.
func TestSeriesMadeAtOnce(t *testing.T) {
	dir := t.TempDir()
	tenants := openTenants(t, dir, TenantsOptions{OutOfOrderWindow: time.Hour})
	h := newTestHandler(t, tenants, HandlerOptions{TooFarInFuture: -1})
	const senders, rounds, each = 6, 8, 100
	for round := range rounds {
		var all sync.WaitGroup
		for sender := range senders {
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(round), uint64(sender)))
				req := v1()
				for _, i := range append(rnd.Perm(each), rnd.Perm(each)...) {
					// A series that comes twice has its newer sample in either half.
					ts := base + int64(1000*sender) + rnd.Int64N(900)
					req.Timeseries = append(req.Timeseries, prompb.TimeSeries{
						Labels:  []prompb.Label{{Name: "__name__", Value: "m"}, {Name: "series", Value: fmt.Sprint(round, "-", i)}},
						Samples: []prompb.Sample{{Timestamp: ts, Value: float64(ts)}},
					})
				}
				if rec := (rwRequest{message: req}).send(t, h); rec.Code/100 != 2 {
					t.Errorf("%d: %s", rec.Code, rec.Body)
				}
			})
		}
		all.Wait()
	}
	count := func() (n int) {
		for _, s := range mustReadAll(t, tenants) {
			n += len(s.points)
		}
		return n
	}
	before := count()
	if most := senders * rounds * each * 2; before < most*99/100 || before > most {
		t.Errorf("%d samples are stored of %d, some of which are equal", before, most)
	}
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	tenants = openTenants(t, dir, TenantsOptions{OutOfOrderWindow: time.Hour})
	if after := count(); after != before {
		t.Errorf("%d samples before a restart, %d after", before, after)
	}
}

func mustAppender(t *testing.T, to *Tenants) storage.AppenderV2 {
	t.Helper()
	app, err := to.Appender(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// Where a series was dropped and made again while it was appended to, nobody who
// may have met it is told that samples are stored.
func TestSeriesThatMoved(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	owner, other, mover := mustAppender(t, tenants), mustAppender(t, tenants), mustAppender(t, tenants)
	if _, err := owner.Append(0, up("new"), 0, base, 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	u := tenants.slots["a"].head.unlogged
	moved, ok := mover.(*headAppender)
	if !ok {
		t.Fatalf("a %T", mover)
	}
	u.moving.RLock() // the mover has made a series, and is about to say so
	owned := make(chan error, 1)
	go func() { owned <- owner.Commit() }()
	select {
	case err := <-owned:
		t.Fatalf("commit before it is known whose the series is: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	u.move(moved)
	u.moving.RUnlock()
	for _, err := range []error{<-owned, other.Commit(), mover.Commit()} {
		if ReasonOf(err) != ReasonUnavailable {
			t.Errorf("commit: %v", err)
		}
	}
	mustWrite(t, tenants, "a", base, 1, up("new"))
}

// Who meets a series that another only looks for waits until that one has seen that
// it is there, not until the end of its transaction, and does so even if it is
// making series of its own.
func TestSeriesThatIsLookedFor(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	mustWrite(t, tenants, "a", base, 1, up("old"))
	mine, other := mustAppender(t, tenants), mustAppender(t, tenants)
	if _, err := mine.Append(0, up("new"), 0, base, 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	u, hash := tenants.slots["a"].head.unlogged, up("old").Hash()
	looking, ok := other.(*headAppender)
	if !ok {
		t.Fatalf("a %T", other)
	}
	if free, ended := u.take(looking, hash); free != nil || ended != nil {
		t.Fatal("it is another's")
	}
	time.AfterFunc(20*time.Millisecond, func() { u.release(looking, hash) })
	if _, err := mine.Append(0, up("old"), 0, base+1, 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(mine.Commit(), other.Rollback()); err != nil {
		t.Fatal(err)
	}
}

// The claims of a transaction that is rolled back are given back once it is known
// whether somebody has made a series on one of them.
func TestRollbackWaitsForWhoHasMadeASeries(t *testing.T) {
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	owner := mustAppender(t, tenants)
	if _, err := owner.Append(0, up("new"), 0, base, 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	u := tenants.slots["a"].head.unlogged
	u.moving.RLock()
	ended := make(chan error, 1)
	go func() { ended <- owner.Rollback() }()
	select {
	case err := <-ended:
		t.Fatalf("rolled back: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	u.moving.RUnlock()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
