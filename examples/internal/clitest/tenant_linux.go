package clitest

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// SlowTenant leaves a tenant in the folder of heads that is not open before open
// is called: what is read of it first is a pipe. Whoever has it opened waits until
// then, so open must be called in every case; calling it again does nothing.
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
	return sync.OnceFunc(func() {
		// This waits for who reads. Labels of before have the pipe replaced by a
		// file, which others may read later.
		if err := os.WriteFile(pipe, []byte(`{"version": 1, "labels": {"before": "x", "tenant_id": "slow"}}`), 0o600); err != nil {
			t.Error(err)
		}
	})
}

// NotReadyUntil wants a probe to be told that one tenant is still being opened,
// and after open that all is well.
func NotReadyUntil(t testing.TB, url string, open func()) {
	t.Helper()
	if status, text, err := probe(url); err != nil || status != http.StatusServiceUnavailable || !strings.Contains(text, "1 tenant") {
		t.Errorf("while a tenant is being opened the probe gets %d %s (%v)", status, text, err)
	}
	open()
	for range 1000 {
		if status, _, err := probe(url); err == nil && status == http.StatusOK {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the probe is not told within 10 seconds that all is open")
}

func probe(url string) (status int, text string, err error) {
	res, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}
