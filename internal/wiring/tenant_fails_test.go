package wiring

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/receive"
)

// A tenant that cannot be opened fails the reads that need it. The answer says
// to try again, and accuses nobody else.
func TestOneTenantThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	tenants, err := receive.OpenTenants(dir, receive.TenantsOptions{MinFreeDisk: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"bad", "good"} {
		app, err := tenants.Appender(t.Context(), tenant)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := app.Append(0, labels.FromStrings("__name__", "up"), 0, 1000, 1, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	// Not a folder any more.
	if err := os.RemoveAll(filepath.Join(dir, "bad", "wal")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad", "wal"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if tenants, err = receive.OpenTenants(dir, receive.TenantsOptions{MinFreeDisk: -1}); err != nil {
		t.Fatal(err)
	}
	defer tenants.Close()
	engine, err := query.NewEngine(query.EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := dedup.New(query.NewFanout([]storage.ChunkQueryable{tenants}, query.FanoutOptions{}), dedup.Options{})
	api, err := query.NewHandler(engine, all, query.HandlerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		Status, ErrorType, Error string
		Warnings                 []string
	}
	ask := func(path string) (code int, a answer) {
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		return rec.Code, a
	}
	for _, path := range []string{"/api/v1/query?time=1&query=up", "/api/v1/query_range?start=1&end=2&step=1&query=up", "/api/v1/series?match[]=up", "/api/v1/labels", "/api/v1/label/__name__/values"} {
		code, a := ask(path)
		if code != http.StatusServiceUnavailable || a.ErrorType != "unavailable" || !strings.Contains(a.Error, `"bad"`) || strings.Contains(a.Error, "good") {
			t.Errorf("%s: %d %+v", path, code, a)
		}
		code, a = ask(path + map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "partial_response=true")
		if code != http.StatusOK || len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], `"bad"`) || strings.Contains(a.Warnings[0], "good") {
			t.Errorf("partial %s: %d %+v", path, code, a)
		}
	}
	if code, a := ask("/api/v1/query?time=1&query=" + `up{tenant_id="good"}`); code != http.StatusOK {
		t.Errorf("the healthy tenant: %d %+v", code, a)
	}
}
