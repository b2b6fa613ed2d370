package receive

import (
	"errors"
	"testing"

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
