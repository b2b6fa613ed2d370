package cache_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func drawRanges(t *rapid.T, size int) []objstore.Range {
	ranges := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) objstore.Range {
		from := rapid.Int64Range(0, int64(size)-1).Draw(t, "from")
		length := rapid.OneOf(rapid.Int64Range(1, 2000), rapid.Int64Range(1, 5*pageSize)).Draw(t, "length")
		return rng(from, from+length)
	}), 1, 40).Draw(t, "ranges")
	slices.SortFunc(ranges, func(a, b objstore.Range) int { return cmp.Compare(a.From, b.From) })
	return ranges
}

// TestReadsAreRight reads all kinds of ranges, with and without room for what
// they leave, and compares the bytes.
func TestReadsAreRight(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 40*pageSize).Draw(rt, "size")
		f := newFixture(t, size, cache.Options{
			MemoryBytes: rapid.SampledFrom([]int64{-1, 5 * pageSize, 0}).Draw(rt, "memory"),
			Dir:         rapid.SampledFrom([]string{"", dir}).Draw(rt, "dir"),
		})
		defer f.Close()
		f.noSize = rapid.Bool().Draw(rt, "size unknown")
		for range rapid.IntRange(1, 4).Draw(rt, "reads") {
			if err := f.check(t.Context(), drawRanges(rt, size)...); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

func TestTheSameAgainReadsNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 40*pageSize).Draw(rt, "size")
		f := newFixture(t, size, cache.Options{})
		f.noSize = rapid.Bool().Draw(rt, "size unknown")
		ranges := drawRanges(rt, size)
		if f.noSize {
			// Whether an answer shorter than the request is the end of the object
			// or of the answer is known only from the bodies' sizes.
			for i := range ranges {
				ranges[i].To = min(ranges[i].To, int64(size))
			}
		}
		f.mustRead(t, ranges...)
		if f.reads() == 0 {
			rt.Fatal("the first read did not reach the bucket")
		}
		var account objstore.Account
		if err := f.check(objstore.WithAccount(t.Context(), &account), ranges...); err != nil {
			rt.Fatal(err)
		}
		if n := f.reads(); n > 0 {
			rt.Fatalf("%d reads of the bucket", n)
		}
		if account.CacheHits() == 0 || account.CacheBytes() == 0 {
			rt.Fatalf("%d hits with %d bytes on the account", account.CacheHits(), account.CacheBytes())
		}
	})
}

// TestOnlyWhatIsMissingIsRead moves a window, as a dashboard does.
func TestOnlyWhatIsMissingIsRead(t *testing.T) {
	f := newFixture(t, 100*pageSize, cache.Options{})
	f.mustRead(t, rng(10*pageSize, 20*pageSize))
	f.mustRead(t, rng(40*pageSize, 50*pageSize))
	f.reads()
	f.log.Reset()
	f.mustRead(t, rng(12*pageSize, 22*pageSize), rng(42*pageSize, 50*pageSize))
	log := f.log.Log()
	if len(log) != 1 || log[0].Off != 20*pageSize || log[0].Len != 2*pageSize {
		t.Errorf("%v, want one read of the two pages that are new", log)
	}
}

// TestGapsAreNotKept reads two pages and what is between them, which the next
// reader gets from the bucket.
func TestGapsAreNotKept(t *testing.T) {
	f := newFixture(t, 10*pageSize, cache.Options{})
	f.mustRead(t, rng(0, 10), rng(3*pageSize, 3*pageSize+10))
	if n := f.reads(); n != 1 {
		t.Fatalf("%d reads, want one for both", n)
	}
	f.mustRead(t, rng(pageSize, pageSize+10))
	if n := f.reads(); n != 1 {
		t.Errorf("%d reads, want one", n)
	}
	f.mustRead(t, rng(0, 10), rng(pageSize, pageSize+10), rng(3*pageSize, 3*pageSize+10))
	if n := f.reads(); n != 0 {
		t.Errorf("%d reads, want none", n)
	}
}

func TestAnotherVersionFindsNothing(t *testing.T) {
	f := newFixture(t, 3*pageSize, cache.Options{Dir: t.TempDir()})
	f.mustRead(t, rng(0, 3*pageSize))
	f.content = randomBytes(3*pageSize - 7)
	f.memory.Put(object, f.content)
	f.reads()
	err := f.ReadRanges(t.Context(), f.request("another", rng(0, 100)), func(_, _ int, b []byte) error {
		if string(b) != string(f.content[:100]) {
			t.Error("the bytes of the old version were handed out")
		}
		return nil
	})
	if err != nil || f.reads() != 1 {
		t.Errorf("%v, want a read of the bucket", err)
	}
}

// TestReplacedBehindTheBack has an object replaced whose readers go on with the
// old version: they see that it makes no sense, and get what there is.
func TestReplacedBehindTheBack(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		f := newFixture(t, 5*pageSize, cache.Options{Dir: dir})
		f.mustRead(t, rng(0, 5*pageSize))
		f.content = bytesOtherThan(f.content)
		f.memory.Put(object, f.content)
		wanted := []objstore.Range{rng(10, 20), rng(pageSize-5, 2*pageSize), rng(4*pageSize, 5*pageSize)}
		calls := map[int]int{}
		err := f.ReadRanges(t.Context(), f.request(f.version, wanted...), func(first, _ int, b []byte) error {
			calls[first]++
			if w := wanted[first]; string(b) != string(f.content[w.From:w.To]) {
				return errWrong
			}
			return nil
		})
		if err != nil || calls[0] != 2 || calls[1] != 2 || calls[2] != 2 {
			t.Errorf("%v after %v calls, want two for each", err, calls)
		}
		f.mustRead(t, wanted...)
	}
}

func bytesOtherThan(b []byte) []byte {
	other := slices.Clone(b)
	for i := range other {
		other[i] ^= 0xff
	}
	return other
}

// TestWhatMakesNoSenseFreshIsAnError does not read again what just came.
func TestWhatMakesNoSenseFreshIsAnError(t *testing.T) {
	f := newFixture(t, pageSize, cache.Options{})
	calls := 0
	err := f.ReadRanges(t.Context(), f.request(f.version, rng(0, 10)), func(int, int, []byte) error {
		calls++
		return errWrong
	})
	if !errors.Is(err, errWrong) || calls != 1 || f.reads() != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestCutOffAnswersAreNotRemembered(t *testing.T) {
	for _, noSize := range []bool{false, true} {
		f := newFixture(t, 5*pageSize, cache.Options{Dir: t.TempDir()})
		f.noSize = noSize
		f.faulty.Set(objstoretest.Rule{Op: objstore.OpGetRange, Times: 1, Fault: objstoretest.Truncate(pageSize + 100)})
		short := false
		err := f.ReadRanges(t.Context(), f.request(f.version, rng(0, 3*pageSize)), func(_, _ int, b []byte) error {
			short = len(b) == pageSize+100
			return nil
		})
		if err != nil || !short {
			t.Errorf("%v; the reader was not told what there is", err)
		}
		f.mustRead(t, rng(0, 3*pageSize))
	}
}

// TestWhatCameBeforeAFailureIsKept goes on where a read broke.
func TestWhatCameBeforeAFailureIsKept(t *testing.T) {
	f := newFixture(t, 5*pageSize, cache.Options{})
	f.faulty.Set(objstoretest.Rule{Op: objstore.OpGetRange, Times: 1, Fault: objstoretest.Break(2*pageSize+100, errWrong)})
	if err := f.check(t.Context(), rng(0, 5*pageSize)); !errors.Is(err, errWrong) {
		t.Errorf("%v, want the error of the bucket", err)
	}
	f.log.Reset()
	f.mustRead(t, rng(0, 5*pageSize))
	if log := f.log.Log(); len(log) != 1 || log[0].Off != 2*pageSize {
		t.Errorf("%v, want one read from the third page on", log)
	}
}

func TestMemoryKeepsToItsBudget(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := newFixture(t, 200*pageSize, cache.Options{MemoryBytes: 20 * pageSize, Registerer: reg})
	for i := range int64(200) {
		f.mustRead(t, rng(i*pageSize, i*pageSize+pageSize))
	}
	got, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	bytes, evicted := 0.0, 0.0
	for _, family := range got {
		switch family.GetName() {
		case "varve_objstore_cache_memory_bytes":
			bytes = family.GetMetric()[0].GetGauge().GetValue()
		case "varve_objstore_cache_memory_evicted_pages_total":
			evicted = family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	if bytes > 20*pageSize || bytes < 10*pageSize || evicted < 150 {
		t.Errorf("%v bytes are kept and %v pages evicted, want at most %d bytes", bytes, evicted, 20*pageSize)
	}
}

func TestMetricsTellHitsFromMisses(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := newFixture(t, 10*pageSize, cache.Options{Registerer: reg})
	f.mustRead(t, rng(0, 2*pageSize))
	f.mustRead(t, rng(0, 3*pageSize))
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP varve_objstore_cache_hit_bytes_total Bytes of the pages that were found.
# TYPE varve_objstore_cache_hit_bytes_total counter
varve_objstore_cache_hit_bytes_total{data="test",tier="memory"} 32768
# HELP varve_objstore_cache_hits_total Pages of objects that were found, by what they hold and where.
# TYPE varve_objstore_cache_hits_total counter
varve_objstore_cache_hits_total{data="test",tier="memory"} 2
# HELP varve_objstore_cache_misses_total Pages of objects that were not found, by what they hold.
# TYPE varve_objstore_cache_misses_total counter
varve_objstore_cache_misses_total{data="test"} 3
`), "varve_objstore_cache_hits_total", "varve_objstore_cache_hit_bytes_total", "varve_objstore_cache_misses_total")
	if err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n, _ := testutil.GatherAndCount(reg); n != 0 {
		t.Errorf("%d metrics are left on the registry after Close", n)
	}
}

func TestOptions(t *testing.T) {
	for want, opts := range map[string]cache.Options{
		"Options.DiskBytes is -1":           {Dir: "x", DiskBytes: -1},
		"Options.Dir is empty":              {DiskBytes: 1 << 30},
		"Options.DiskBytes is 1, want 0 or": {Dir: "x", DiskBytes: 1},
	} {
		if _, err := cache.New(objstoretest.NewMemory(), opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", opts, err, want)
		}
	}
}

func TestDoneContext(t *testing.T) {
	f := newFixture(t, pageSize, cache.Options{})
	f.mustRead(t, rng(0, 10))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.check(ctx, rng(0, 10)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestReadingPastTheCache looks again at what made no sense: what is remembered
// does not answer that, and what comes of it is remembered instead.
func TestReadingPastTheCache(t *testing.T) {
	f := newFixture(t, 3*pageSize, cache.Options{Dir: t.TempDir()})
	good := f.content
	f.memory.Put(object, randomBytes(3*pageSize + 1)[:3*pageSize])
	if err := f.check(t.Context(), rng(0, 3*pageSize)); !errors.Is(err, errWrong) {
		t.Fatalf("got %v, want the damaged bytes", err)
	}
	f.flush(t)
	f.memory.Put(object, good)
	f.reads()
	if err := f.check(objstore.WithoutCache(t.Context()), rng(0, 3*pageSize)); err != nil {
		t.Fatal(err)
	}
	if n := f.reads(); n != 1 {
		t.Errorf("%d reads of the bucket, want one", n)
	}
	f.flush(t)
	f.mustRead(t, rng(0, 3*pageSize))
	if n := f.reads(); n != 0 {
		t.Errorf("%d reads for what was just read", n)
	}
}

// TestReadingPastTheCacheJoinsNobody looks again while others wait for a read that
// may have brought what made no sense.
func TestReadingPastTheCacheJoinsNobody(t *testing.T) {
	f := newFixture(t, 3*pageSize, cache.Options{})
	begun, hold, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	slow := f.request(f.version, rng(0, pageSize))
	open := slow.Open
	slow.Open = func(ctx context.Context, off, length int64) (io.ReadCloser, error) {
		close(begun)
		<-hold
		return open(ctx, off, length)
	}
	go func() {
		ended <- f.ReadRanges(t.Context(), slow, func(int, int, []byte) error { return nil })
	}()
	<-begun
	ctx, cancel := context.WithTimeout(objstore.WithoutCache(t.Context()), time.Minute)
	defer cancel()
	if err := f.check(ctx, rng(0, pageSize)); err != nil {
		t.Error(err)
	}
	close(hold)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestWhatIsForgottenDoesNotComeBack looks again, past the cache, while an earlier
// read has the bytes of before the object was mended and is still to remember them.
func TestWhatIsForgottenDoesNotComeBack(t *testing.T) {
	dir := t.TempDir()
	f := newFixture(t, 3*pageSize, cache.Options{Dir: dir})
	old := bytesOtherThan(f.content)
	begun, hold, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	slow := f.request(f.version, rng(0, 3*pageSize))
	slow.Open = func(context.Context, int64, int64) (io.ReadCloser, error) {
		close(begun)
		<-hold
		return io.NopCloser(bytes.NewReader(old)), nil
	}
	go func() {
		ended <- f.ReadRanges(t.Context(), slow, func(_, _ int, b []byte) error {
			if !bytes.Equal(b, old) {
				return errWrong
			}
			return nil
		})
	}()
	<-begun
	if err := f.check(objstore.WithoutCache(t.Context()), rng(pageSize, 2*pageSize)); err != nil {
		t.Fatal(err)
	}
	f.flush(t)
	close(hold)
	if err := <-ended; err != nil {
		t.Errorf("who waits for the earlier read: %v", err)
	}
	f.flush(t)
	f.mustRead(t, rng(0, 3*pageSize))
	f.open(t, cache.Options{Dir: dir})
	f.mustRead(t, rng(0, 3*pageSize))
}

// TestLargeRanges asks for more than an object has, up to the largest number there
// is, in context of a version.
func TestLargeRanges(t *testing.T) {
	f := newFixture(t, 3*pageSize, cache.Options{})
	ctx := objstore.WithVersion(t.Context(), f.version)
	for _, off := range []int64{0, 5, pageSize} {
		for _, length := range []int64{3 * pageSize, 64 << 20, 64<<20 + 1, 1 << 40, math.MaxInt64 - off, math.MaxInt64} {
			r, err := f.GetRange(ctx, object, off, length)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(b, f.content[off:]) {
				t.Errorf("%d bytes from %d on: %d bytes, error %v, want the %d there are", length, off, len(b), err, len(f.content)-int(off))
			}
		}
	}
}
