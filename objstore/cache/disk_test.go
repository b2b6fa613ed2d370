package cache_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/objstore/cache"
)

// files lists what is below dir.
func files(tb testing.TB, dir string) (paths []string) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return paths
}

func TestDiskSurvivesARestart(t *testing.T) {
	opts := cache.Options{Dir: t.TempDir()}
	f := newFixture(t, 2*segmentSize+100, opts)
	wanted := []struct{ from, to int64 }{
		{0, 100}, {3 * pageSize, 5 * pageSize}, {segmentSize - 10, segmentSize + 10}, {2*segmentSize - 3, 2*segmentSize + 100},
	}
	for _, w := range wanted {
		f.mustRead(t, rng(w.from, w.to))
	}
	f.settle(t)
	f.reads()
	f.open(t, opts)
	for _, w := range wanted {
		f.mustRead(t, rng(w.from, w.to))
	}
	if n := f.reads(); n != 0 {
		t.Errorf("%d reads of the bucket after a restart, want none", n)
	}
	f.mustRead(t, rng(10*pageSize, 10*pageSize+1))
	if n := f.reads(); n != 1 {
		t.Errorf("%d reads for what was never read, want one", n)
	}
}

// TestDamagedFilesAreMisses damages the files in every way that a rapid test
// finds, and expects the right bytes.
func TestDamagedFilesAreMisses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		opts := cache.Options{MemoryBytes: -1, Dir: dir}
		f := newFixture(t, 6*pageSize, opts)
		f.mustRead(t, rng(0, 6*pageSize))
		f.settle(t)
		paths := files(t, dir)
		if len(paths) != 1 {
			rt.Fatalf("%d files", len(paths))
		}
		content, err := os.ReadFile(paths[0])
		if err != nil {
			rt.Fatal(err)
		}
		at := rapid.OneOf(rapid.IntRange(0, len(content)-1), rapid.IntRange(0, 200)).Draw(rt, "at")
		switch rapid.IntRange(0, 3).Draw(rt, "kind") {
		case 0:
			content[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		case 1:
			content = content[:at]
		case 2:
			clear(content[at:])
		case 3: // as if written by another program
			content = append(bytes.Clone(content[at:]), content[:at]...)
		}
		if err := os.WriteFile(paths[0], content, 0o666); err != nil {
			rt.Fatal(err)
		}
		f.open(t, opts)
		for range 2 {
			if err := f.check(t.Context(), rng(0, 6*pageSize)); err != nil {
				rt.Fatal(err)
			}
		}
		f.settle(t)
		f.reads()
		f.open(t, opts)
		f.mustRead(t, rng(0, 6*pageSize))
		if n := f.reads(); n != 0 {
			rt.Fatalf("%d reads of the bucket: the damage was not mended", n)
		}
		f.settle(t)
	})
}

// TestFileOfAnotherObjectIsAMiss has a file under the name of another, whole as
// it is.
func TestFileOfAnotherObjectIsAMiss(t *testing.T) {
	dir := t.TempDir()
	opts := cache.Options{MemoryBytes: -1, Dir: dir}
	f := newFixture(t, pageSize, opts)
	f.mustRead(t, rng(0, 100))
	f.settle(t)
	mine := files(t, dir)[0]
	other := newFixture(t, pageSize-1, opts)
	other.mustRead(t, rng(0, 100))
	other.settle(t)
	for _, path := range files(t, dir) {
		if path != mine {
			if err := os.Rename(path, mine); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.open(t, opts)
	f.mustRead(t, rng(0, 100))
}

// diskUse is what the files take, holes left out.
func diskUse(tb testing.TB, reg *prometheus.Registry) float64 {
	tb.Helper()
	all, err := reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() == "varve_objstore_cache_disk_bytes" {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	tb.Fatal("no gauge of the disk")
	return 0
}

func TestDiskKeepsToItsBudget(t *testing.T) {
	const budget = 4 * segmentSize
	dir := t.TempDir()
	reg := prometheus.NewRegistry()
	f := newFixture(t, 10*segmentSize, cache.Options{MemoryBytes: -1, Dir: dir, DiskBytes: budget, Registerer: reg})
	for i := range int64(10) {
		f.mustRead(t, rng(i*segmentSize, (i+1)*segmentSize))
		f.flush(t)
		if use := diskUse(t, reg); use > budget || use == 0 {
			t.Fatalf("%v bytes on disk after %d segments, want at most %d", use, i+1, budget)
		}
		if n := len(files(t, dir)); n > 4 {
			t.Fatalf("%d files on disk after %d segments", n, i+1)
		}
	}
	f.reads()
	f.mustRead(t, rng(9*segmentSize, 9*segmentSize+100))
	if n := f.reads(); n != 0 {
		t.Error("what was read last is not kept")
	}
	f.settle(t)

	// After a restart with less the rest goes at once.
	reg = prometheus.NewRegistry()
	f.open(t, cache.Options{MemoryBytes: -1, Dir: dir, DiskBytes: 2 * segmentSize, Registerer: reg})
	if n, use := len(files(t, dir)), diskUse(t, reg); n > 2 || use > 2*segmentSize {
		t.Errorf("%d files with %v bytes after a restart with a budget for two", n, use)
	}
}

func TestWhatIsUsedStaysOnDisk(t *testing.T) {
	f := newFixture(t, 10*segmentSize, cache.Options{MemoryBytes: -1, Dir: t.TempDir(), DiskBytes: 4 * segmentSize})
	for i := range int64(10) {
		f.mustRead(t, rng(i*segmentSize, (i+1)*segmentSize))
		f.flush(t)
		f.mustRead(t, rng(0, 100))
	}
	f.reads()
	f.mustRead(t, rng(0, segmentSize))
	if n := f.reads(); n != 0 {
		t.Errorf("%d reads of what was used all the time", n)
	}
}

// TestForeignFilesAreLeftAlone has a directory that somebody keeps other things
// in.
func TestForeignFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	foreign := []string{filepath.Join(dir, "notes"), filepath.Join(dir, "ranges-v1", "ab", "notes"), filepath.Join(dir, "ranges-v1", "notes")}
	for _, path := range foreign {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, 20*segmentSize), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	f := newFixture(t, 3*segmentSize, cache.Options{Dir: dir, DiskBytes: segmentSize + 8192})
	f.mustRead(t, rng(0, 3*segmentSize))
	f.settle(t)
	for _, path := range foreign {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// TestDiskThatFails has a file where the directory should be, then takes the
// directory away under a running cache.
func TestDiskThatFails(t *testing.T) {
	var log bytes.Buffer
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.WriteFile(dir, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	opts := cache.Options{MemoryBytes: -1, Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	f := newFixture(t, pageSize, opts)
	for range 2 {
		f.mustRead(t, rng(0, 100))
	}
	f.settle(t)
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), dir) {
		t.Errorf("%d warnings, want one that names the directory:\n%s", n, &log)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	log.Reset()
	opts.Registerer = reg
	f.open(t, opts)
	f.mustRead(t, rng(0, 100))
	f.flush(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f.mustRead(t, rng(0, 100))
		f.flush(t)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one:\n%s", n, &log)
	}
	failures := 0.0
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() == "varve_objstore_cache_disk_failures_total" {
			for _, m := range family.GetMetric() {
				failures += m.GetCounter().GetValue()
			}
		}
	}
	if failures == 0 {
		t.Error("no failure was counted")
	}
}

// TestTwoCachesOneDirectory has several write and read the same and other
// objects at once, with a budget that makes them remove each other's files.
func TestTwoCachesOneDirectory(t *testing.T) {
	dir := t.TempDir()
	opts := cache.Options{MemoryBytes: -1, Dir: dir, DiskBytes: 2*segmentSize + 1<<20}
	var caches []*fixture
	for i := range 4 {
		caches = append(caches, newFixture(t, 3*segmentSize+i%2, opts))
	}
	var wg sync.WaitGroup
	for i, f := range caches {
		wg.Go(func() {
			for n := range int64(60) {
				from := (n*int64(i+7)*3*pageSize + n) % (3*segmentSize - 100*pageSize)
				if err := f.check(t.Context(), rng(from, from+n*pageSize/2+1), rng(from+80*pageSize, from+90*pageSize)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, f := range caches {
		f.settle(t)
	}
	// What one has read the other finds.
	one, two := newFixture(t, segmentSize, opts), newFixture(t, segmentSize, opts)
	one.mustRead(t, rng(0, 10*pageSize))
	one.flush(t)
	two.mustRead(t, rng(0, 10*pageSize))
	if n := two.reads(); n != 0 {
		t.Errorf("%d reads of what another cache has on the same disk", n)
	}
}
