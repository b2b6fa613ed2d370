package receive

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/prometheus/storage"
)

// What was acknowledged is there after a restart, also if another transaction
// had made its series and was rolled back later.
func TestSeriesOfAnotherTransaction(t *testing.T) {
	for _, end := range []string{"commit", "rollback", "too late"} {
		t.Run(end, func(t *testing.T) {
			dir := t.TempDir()
			tenants := openTenants(t, dir, TenantsOptions{})
			open := func() storage.AppenderV2 {
				app, err := tenants.Appender(t.Context(), "a")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := app.Append(0, up("new"), 0, base, 1, nil, nil, storage.AOptions{}); err != nil {
					t.Fatal(err)
				}
				return app
			}
			first, second := open(), open()
			if ref, _ := second.(storage.GetRef).GetRef(up("new"), up("new").Hash()); ref != 0 {
				t.Error("a series that is not logged yet is offered by reference")
			}
			finish := map[string]func() error{"commit": first.Commit, "rollback": first.Rollback, "too late": func() error { return nil }}[end]
			done := make(chan error, 1)
			go func() { done <- second.Commit() }()
			time.Sleep(20 * time.Millisecond)
			if err := finish(); err != nil {
				t.Fatal(err)
			}
			err := <-done
			if end == "too late" {
				if !errors.Is(err, ErrUnavailable) || ReasonOf(err).Class() != Retryable {
					t.Errorf("commit without the other: %v", err)
				}
				if err := first.Rollback(); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := tenants.Close(); err != nil {
				t.Fatal(err)
			}
			tenants = openTenants(t, dir, TenantsOptions{})
			if got := mustReadAll(t, tenants, equal("instance", "new")); len(got) != 1 || len(got[0].points) != 1 {
				t.Errorf("after a restart: %v", got)
			}
		})
	}
}
