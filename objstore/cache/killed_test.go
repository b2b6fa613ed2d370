package cache_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/varve-tsdb/varve/objstore/cache"
)

// killedDir tells a copy of this test binary that it is to write until it is killed.
const killedDir = "VARVE_TEST_CACHE_DIR"

// TestWriterThatIsKilled has another process write into the directory of a cache and
// kills it in the middle, several times: all who read it, then and later, get the
// bytes of the object or none.
func TestWriterThatIsKilled(t *testing.T) {
	const size = segmentSize + 40*pageSize + 77
	if dir := os.Getenv(killedDir); dir != "" {
		for range 1000 { // should nobody kill it
			f := newFixture(t, size, cache.Options{Dir: dir, MemoryBytes: -1})
			readSome(t, f)
			f.settle(t)
			for _, path := range files(t, dir) {
				if rand.IntN(3) == 0 {
					_ = os.Remove(path) // so that there is something to write again
				}
			}
		}
		return
	}
	dir := t.TempDir()
	for range 5 {
		other := exec.Command(os.Args[0], "-test.run=^TestWriterThatIsKilled$")
		other.Env = append(os.Environ(), killedDir+"="+dir)
		var said bytes.Buffer
		other.Stdout, other.Stderr = &said, &said
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		kill := sync.OnceFunc(func() {
			if err := other.Process.Kill(); err != nil {
				t.Error(err)
			}
			// It ended by that, and not because of what it had read.
			if err := other.Wait(); other.ProcessState.Exited() {
				t.Errorf("%v: %s", err, &said)
			}
		})
		t.Cleanup(kill)
		for len(files(t, dir)) == 0 { // it has not written yet
			time.Sleep(time.Millisecond)
		}
		f := newFixture(t, size, cache.Options{Dir: dir, MemoryBytes: -1})
		for range 5 + rand.IntN(20) {
			readSome(t, f)
		}
		kill()
		f.settle(t)
		again := newFixture(t, size, cache.Options{Dir: dir, MemoryBytes: -1})
		again.mustRead(t, rng(0, size))
	}
}

func readSome(t *testing.T, f *fixture) {
	t.Helper()
	from := rand.Int64N(int64(len(f.content)))
	f.mustRead(t, rng(from, min(from+rand.Int64N(60*pageSize)+1, int64(len(f.content)))))
}
