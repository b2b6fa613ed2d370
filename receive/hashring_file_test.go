package receive

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const (
	goodHashrings = `[{"hashring": "one", "endpoints": ["r1"]}]`
	nextHashrings = `[{"hashring": "two", "tenants": ["a", "b"], "endpoints": ["r2", "r3"], "algorithm": "ketama", "shuffle_sharding_config": {"shard_size": 1}}]`
	badHashrings  = `[{"hashring": "three", "endpoints": []}]`
)

type hashringFileRig struct {
	*HashringFile
	path string
	reg  *prometheus.Registry
	log  *bytes.Buffer
}

func newHashringFileRig(t *testing.T) hashringFileRig {
	t.Helper()
	rig := hashringFileRig{path: filepath.Join(t.TempDir(), "hashrings.json"), reg: prometheus.NewRegistry(), log: new(bytes.Buffer)}
	f, err := NewHashringFile(rig.path, HashringFileOptions{
		Registerer: rig.reg, Interval: time.Minute, Logger: slog.New(slog.NewTextHandler(rig.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	rig.HashringFile = f
	return rig
}

func (r hashringFileRig) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load makes one pass over a file with text and returns the addresses that are
// in use afterwards.
func (r hashringFileRig) load(t *testing.T, text string) (addresses string, err error) {
	t.Helper()
	r.write(t, text)
	err = r.Load(t.Context())
	return r.addresses(), err
}

func (r hashringFileRig) addresses() string {
	var all []string
	for _, e := range r.Current().Endpoints() {
		all = append(all, e.Address)
	}
	return strings.Join(all, " ")
}

func TestHashringFileKeepsTheLastGoodOne(t *testing.T) {
	rig := newHashringFileRig(t)
	if err := rig.Load(t.Context()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), rig.path) || rig.Current() != nil {
		t.Fatalf("without a file: %v", err)
	}
	if got, err := rig.load(t, goodHashrings); err != nil || got != "r1" {
		t.Fatalf("good file: %q, %v", got, err)
	}
	started := rig.Current()
	for _, bad := range []string{badHashrings, badHashrings, "", "[", nextHashrings[:50]} {
		got, err := rig.load(t, bad)
		var problem *HashringError
		if got != "r1" || !errors.As(err, &problem) {
			t.Fatalf("bad file %q: %q, %v", bad, got, err)
		}
	}
	if got, err := rig.load(t, goodHashrings); err != nil || got != "r1" || rig.Current() != started {
		t.Fatalf("the good file again: %q, %v, want the same hashrings", got, err)
	}
	if got, err := rig.load(t, nextHashrings); err != nil || got != "r2 r3" {
		t.Fatalf("another good file: %q, %v", got, err)
	}
	if err := os.Remove(rig.path); err != nil {
		t.Fatal(err)
	}
	if err := rig.Load(t.Context()); err == nil || rig.addresses() != "r2 r3" {
		t.Fatalf("the file is gone: %q, %v", rig.addresses(), err)
	}
	// A request that has begun with the first ones can go on with them.
	if ring, err := started.Resolve("a"); err != nil || ring.Name() != "one" {
		t.Errorf("the hashrings of before: %v", err)
	}
	rig.checkLog(t, map[string]int{"cannot be used": 5, "good again": 2, "Hashrings loaded": 2, "there are none: name at least one": 1})
}

// checkLog counts what the log says: what stays bad is said once.
func (r hashringFileRig) checkLog(t *testing.T, want map[string]int) {
	t.Helper()
	for text, n := range want {
		if got := strings.Count(r.log.String(), text); got != n {
			t.Errorf("the log says %q %d times, want %d:\n%s", text, got, n, r.log)
		}
	}
}

func TestHashringFileMetrics(t *testing.T) {
	rig := newHashringFileRig(t)
	for _, text := range []string{goodHashrings, goodHashrings, badHashrings, nextHashrings, badHashrings} {
		_, _ = rig.load(t, text) // errors are the other test's
	}
	resolve(t, rig.Current(), "a")
	want := `
		# HELP varve_receive_hashring_endpoints Endpoints of the hashring.
		# TYPE varve_receive_hashring_endpoints gauge
		varve_receive_hashring_endpoints{hashring="two"} 2
		# HELP varve_receive_hashring_last_load_successful Whether the hashring file was good when last looked at.
		# TYPE varve_receive_hashring_last_load_successful gauge
		varve_receive_hashring_last_load_successful 0
		# HELP varve_receive_hashring_loads_total Looks at the hashring file, by what came of them.
		# TYPE varve_receive_hashring_loads_total counter
		varve_receive_hashring_loads_total{result="changed"} 2
		varve_receive_hashring_loads_total{result="failed"} 2
		varve_receive_hashring_loads_total{result="unchanged"} 1
		# HELP varve_receive_hashring_shards Tenants' shards that are kept.
		# TYPE varve_receive_hashring_shards gauge
		varve_receive_hashring_shards{hashring="two"} 1
		# HELP varve_receive_hashring_shards_made_total Tenants' shards made since the hashrings last changed. If it grows steadily, cache_size is too small.
		# TYPE varve_receive_hashring_shards_made_total counter
		varve_receive_hashring_shards_made_total{hashring="two"} 1
		# HELP varve_receive_hashring_tenants Names or patterns of tenants that the hashring takes; 0 takes all.
		# TYPE varve_receive_hashring_tenants gauge
		varve_receive_hashring_tenants{hashring="two"} 2
	`
	names := []string{"endpoints", "last_load_successful", "loads_total", "shards", "shards_made_total", "tenants"}
	for i := range names {
		names[i] = "varve_receive_hashring_" + names[i]
	}
	if err := testutil.GatherAndCompare(rig.reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	if got := testutil.ToFloat64(rig.metrics.hash); got != hashringFileHash([]byte(nextHashrings)) {
		t.Errorf("hash %v is not that of the file that is in use", got)
	}
	if problems, err := testutil.GatherAndLint(rig.reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// The number that thanos_receive_config_hash has for the same file.
func TestHashringFileHash(t *testing.T) {
	// The SHA-256 of "abc" begins with ba7816bf8f01.
	if got, want := hashringFileHash([]byte("abc")), float64(0x018fbf1678ba); got != want {
		t.Errorf("hash %x, want %x", uint64(got), uint64(want))
	}
}

func TestHashringFileOptions(t *testing.T) {
	_, err := NewHashringFile("x", HashringFileOptions{Interval: -1, Hashrings: HashringsOptions{ReplicationFactor: -1}})
	if err == nil || !strings.Contains(err.Error(), "Interval: ") || !strings.Contains(err.Error(), "Hashrings: ReplicationFactor: ") {
		t.Errorf("%v does not name both fields", err)
	}
	reg := prometheus.NewRegistry()
	if _, err := NewHashringFile("x", HashringFileOptions{Registerer: reg}); err != nil {
		t.Error(err)
	}
	if _, err := NewHashringFile("x", HashringFileOptions{Registerer: reg}); err == nil || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Errorf("twice on one registry: %v, want the remedy", err)
	}
}

func TestHashringFileRunFollowsTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newHashringFileRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- rig.Run(ctx) }()
		for _, step := range []struct{ text, want string }{
			{badHashrings, ""}, {goodHashrings, "r1"}, {badHashrings, "r1"}, {nextHashrings, "r2 r3"},
		} {
			rig.write(t, step.text)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if got := rig.addresses(); got != step.want {
				t.Errorf("file %s: %q, want %q", step.text, got, step.want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v after cancel, want nil", err)
		}
	})
}

// Requests that resolve and place while the hashrings change see one or the
// other, whole.
func TestHashringFileChangesUnderRequests(t *testing.T) {
	rig := newHashringFileRig(t)
	files := []string{ringJSON(3, `"algorithm": "ketama",`), ringJSON(5, `"algorithm": "ketama",`)}
	if _, err := rig.load(t, files[0]); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			into := make([]uint32, 1)
			for hash := uint64(1); ; hash = hash*6364136223846793005 + 1 {
				select {
				case <-stop:
					return
				default:
				}
				h := rig.Current()
				ring, err := h.Resolve("a")
				if err != nil {
					t.Error(err)
					return
				}
				if n := len(ring.Endpoints()); n != 3 && n != 5 || n != len(h.Endpoints()) {
					t.Errorf("a hashring of %d among %d endpoints", n, len(h.Endpoints()))
				}
				ring.Place(hash, into)
				if int(into[0]) >= len(h.Endpoints()) {
					t.Errorf("endpoint %d of %d", into[0], len(h.Endpoints()))
				}
			}
		})
	}
	for i := range 20 {
		if got, err := rig.load(t, files[i%2]); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
	close(stop)
	wg.Wait()
	if got := testutil.ToFloat64(rig.metrics.changed); got != 20 {
		t.Errorf("changed %v times, want 20", got)
	}
}
