package receive

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/prometheus/storage"
)

// committedBeside is an appender beside whose commit something happens.
type committedBeside struct {
	storage.AppenderV2
	beside func()
}

func (a committedBeside) Commit() error {
	err := a.AppenderV2.Commit()
	a.beside()
	return err
}

// When another appender leaves a torn record in the write-ahead log, what is
// written behind it will be dropped by the replay: it must not be acknowledged.
func TestCommitBesideAFailureIsNotAcknowledged(t *testing.T) {
	leakCheck(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	mustWrite(t, tenants, "a", base, 1, up("1"))
	app, err := tenants.Appender(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.Append(0, up("1"), 0, base+seconds(1), 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	inner := app.(*headAppender)
	inner.app = committedBeside{inner.app, func() {
		_ = inner.head.fail("write to the write-ahead log", errors.New("torn"), false)
	}}
	wantFailed(t, "commit", app.Commit(), "a")
	if err := tenants.Compact(t.Context()); err != nil { // opens the tenant again
		t.Fatal(err)
	}
	mustWrite(t, tenants, "a", base+seconds(1), 1, up("1"))
}

// onceLogged is called when a transaction is in the log and not in memory yet.
type onceLogged func()

func (f onceLogged) Notify() { f() }

// Two samples of a series that come side by side are both there after a restart,
// as they were before it: no transaction overtakes one that is in the log already.
func TestTransactionsDoNotOvertakeEachOther(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	opts := TenantsOptions{OutOfOrderWindow: time.Hour}
	tenants := openTenants(t, dir, opts)
	mustWrite(t, tenants, "a", base, 1, up("1"))
	newer, older := mustAppender(t, tenants), mustAppender(t, tenants)
	for app, ts := range map[storage.AppenderV2]int64{newer: base + seconds(2), older: base + seconds(1)} {
		if _, err := app.Append(0, up("1"), 0, ts, 1, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	done, first := make(chan error, 1), true
	tenants.slots["a"].head.db.SetWriteNotified(onceLogged(func() {
		if !first {
			return
		}
		first = false
		go func() { done <- older.Commit() }()
		select {
		case err := <-done:
			done <- err
		case <-time.After(100 * time.Millisecond):
		}
	}))
	if err := errors.Join(newer.Commit(), <-done); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"before", "after"} {
		if got := mustReadAll(t, tenants); len(got) != 1 || len(got[0].points) != 3 {
			t.Errorf("%s a restart: %v", when, got)
		}
		if err := tenants.Close(); err != nil {
			t.Fatal(err)
		}
		tenants = openTenants(t, dir, opts)
	}
}

// Who waits to commit while another's commit breaks the head is told so, and
// touches it no more: locks of series may be held for good.
func TestCommitBehindOneThatBreaksTheHead(t *testing.T) {
	leakCheckButLogs(t)
	tenants := openTenants(t, t.TempDir(), TenantsOptions{})
	mustWrite(t, tenants, "a", base, 1, up("1"), up("2"))
	breaks, waits := mustAppender(t, tenants), mustAppender(t, tenants)
	for instance, app := range map[string]storage.AppenderV2{"1": breaks, "2": waits} {
		if _, err := app.Append(0, up(instance), 0, base+seconds(1), 1, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	tenants.slots["a"].head.db.SetWriteNotified(onceLogged(func() {
		go func() { done <- waits.Commit() }()
		time.Sleep(20 * time.Millisecond)
		panic("the disk is on fire")
	}))
	wantFailed(t, "the commit that breaks it", breaks.Commit(), "a")
	wantFailed(t, "the one behind it", <-done, "a")
	if err := tenants.Compact(t.Context()); err != nil { // opens the tenant again
		t.Fatal(err)
	}
	if got := mustReadAll(t, tenants, equal("instance", "2")); len(got) != 1 || len(got[0].points) != 1 {
		t.Errorf("what was behind it is there: %v", got)
	}
}
