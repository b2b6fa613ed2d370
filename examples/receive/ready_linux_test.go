package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/varve-tsdb/varve/examples/internal/clitest"
)

// Before all tenants are open a load balancer is to ask others, but who comes
// is not sent away.
func TestReadyOnceTenantsAreOpen(t *testing.T) {
	dir := t.TempDir()
	open := clitest.SlowTenant(t, dir)
	defer open()
	p := start(t, "--label=a=b", "--tsdb.path="+dir)
	url := fmt.Sprintf("http://%s/api/v1/receive", p.writes.Addr())
	if status, text := request(t, http.DefaultClient, url, protobuf, remoteWrite(t, "m")); status != http.StatusNoContent {
		t.Errorf("another tenant's write is answered %d %s", status, text)
	}
	clitest.NotReadyUntil(t, fmt.Sprintf("http://%s/-/ready", p.http.Addr()), open)
}

// Who stores nothing has nothing to open.
func TestRouterIsReadyAtOnce(t *testing.T) {
	p := start(t, `--receive.hashrings=[{"endpoints": ["127.0.0.1:1"]}]`)
	res, err := http.Get(fmt.Sprintf("http://%s/-/ready", p.http.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("the probe is answered %s", res.Status)
	}
}
