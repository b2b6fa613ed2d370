package clitest

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SlowTenant leaves a tenant in the folder of heads that is not open before open
// is called: what is read of it first is a pipe.
func SlowTenant(t testing.TB, heads string) (open func()) {
	t.Helper()
	dir := filepath.Join(heads, "slow")
	if err := os.MkdirAll(filepath.Join(dir, "wal"), 0o777); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "varve.labels.json")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // or who opens it would wait for ever
	return func() {
		if _, err := f.WriteString(`{"version": 1, "labels": {"tenant_id": "slow"}}`); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// NotReadyUntil wants a probe to be told that one tenant is still being opened,
// and after open that all is well.
func NotReadyUntil(t testing.TB, url string, open func()) {
	t.Helper()
	probe := func() (int, string) {
		res, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	if status, text := probe(); status != http.StatusServiceUnavailable || !strings.Contains(text, "1 tenant") {
		t.Errorf("while a tenant is being opened the probe gets %d %s", status, text)
	}
	open()
	for range 1000 {
		if status, _ := probe(); status == http.StatusOK {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the probe is not told within 10 seconds that all is open")
}
