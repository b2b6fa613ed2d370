package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// threeBlocks puts three blocks of ten samples a series into a bucket, of
// which the middle one, [100,200), is the one that will be broken.
func threeBlocks(tb testing.TB) (bkt *objstoretest.Memory, middle ulid.ULID) {
	tb.Helper()
	bkt = objstoretest.NewMemory()
	for i := range int64(3) {
		var series []blocktest.Series
		for _, name := range []string{"one", "two"} {
			series = append(series, blocktest.Series{
				Labels:  labels.FromStrings("__name__", name),
				Samples: blocktest.Floats(100*i, 100*i+100, 50, float64(100*i)),
			})
		}
		id := blocktest.Put(tb, bkt, blocktest.Block{
			MinTime: 100 * i, MaxTime: 100*i + 100, External: labels.FromStrings("cluster", "eu"), Series: series,
		})
		if i == 1 {
			middle = id
		}
	}
	return bkt, middle
}

func TestBrokenObjects(t *testing.T) {
	const whole = `{__name__="one", cluster="eu"} 0:0 50:1 100:100 150:101 200:200 250:201` + "\n"
	const without = `{__name__="one", cluster="eu"} 0:0 50:1 200:200 250:201` + "\n"
	missing := func([]byte) []byte { return nil }
	cutTo := func(n int) func([]byte) []byte {
		return func(b []byte) []byte { return b[: (n+len(b))%len(b) : len(b)] }
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			b = bytes.Clone(b)
			b[(at+len(b))%len(b)] ^= 4
			return b
		}
	}
	version := func(v byte) func([]byte) []byte {
		return func(b []byte) []byte {
			b = bytes.Clone(b)
			b[4] = v
			return b
		}
	}
	healthy, middle := threeBlocks(t)
	for name, c := range map[string]struct {
		object string
		change func([]byte) []byte
		want   error
		// warm says that the header is there already.
		warm bool
	}{
		"index missing":           {object: "index", change: missing, want: ErrMissing},
		"index missing when warm": {object: "index", change: missing, want: ErrMissing, warm: true},
		"index empty":             {object: "index", change: cutTo(0), want: ErrTruncated},
		"index cut":               {object: "index", change: cutTo(-10), want: ErrTruncated},
		"index cut in series":     {object: "index", change: cutTo(80), want: ErrTruncated, warm: true},
		"index magic":             {object: "index", change: flip(0), want: ErrCorrupt},
		"index version 1":         {object: "index", change: version(1), want: ErrUnsupported},
		"index symbols":           {object: "index", change: flip(20), want: ErrCorrupt},
		"index table":             {object: "index", change: flip(-60), want: ErrCorrupt},
		"index contents":          {object: "index", change: flip(-3), want: ErrCorrupt},
		"index postings":          {object: "index", change: flip(-180), want: ErrCorrupt, warm: true},
		"chunks missing":          {object: "chunks/000001", change: missing, want: ErrMissing},
		"chunks empty":            {object: "chunks/000001", change: cutTo(0), want: ErrTruncated},
		"chunks cut":              {object: "chunks/000001", change: cutTo(20), want: ErrTruncated},
		"chunk length":            {object: "chunks/000001", change: flip(8), want: ErrCorrupt},
		"chunk encoding":          {object: "chunks/000001", change: flip(9), want: ErrCorrupt},
		"chunk data":              {object: "chunks/000001", change: flip(14), want: ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			bkt := healthy.Copy()
			b := openOver(t, bkt, t.TempDir(), Options{})
			if c.warm {
				mustRead(t, b, 0, 299, equal("__name__", "two"))
			}
			object := middle.String() + "/" + c.object
			good := bkt.Objects()[object]
			if broken := c.change(good); broken != nil {
				bkt.Put(object, broken)
			} else if err := bkt.Delete(t.Context(), object); err != nil {
				t.Fatal(err)
			}

			_, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one"))
			checkFault(t, err, middle, object, c.want)
			if got := mustRead(t, b, 0, 99, like("__name__", "one")); got != `{__name__="one", cluster="eu"} 0:0 50:1`+"\n" {
				t.Errorf("a range without the broken block: %s", got)
			}
			mustRead(t, b, 0, 299, equal("cluster", "us"))

			got, warnings, err := read(partial(t.Context()), b, 0, 299, equal("__name__", "one"))
			if err != nil || got != without || len(warnings) != 1 {
				t.Errorf("partial: got %q, %v, %v", got, warnings.AsErrors(), err)
			}
			for _, warning := range warnings.AsErrors() {
				checkFault(t, warning, middle, object, c.want)
			}

			bkt.Put(object, good)
			if err := b.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := mustRead(t, b, 0, 299, equal("__name__", "one")); got != whole {
				t.Errorf("after repair: %s", got)
			}
		})
	}
}

func checkFault(t *testing.T, err error, id ulid.ULID, object string, want error) {
	t.Helper()
	var fault *BlockError
	if !errors.As(err, &fault) || !errors.Is(err, want) {
		t.Fatalf("got the error %v, want a BlockError of %v", err, want)
	}
	if fault.Block != id || fault.Object != object || fault.External.Get("cluster") != "eu" ||
		fault.MinTime != time.UnixMilli(100) || fault.MaxTime != time.UnixMilli(200) || fault.Retryable() {
		t.Errorf("the error %#v does not say what is wrong", fault)
	}
	for _, part := range []string{id.String(), object, `cluster="eu"`, "1970-01-01T00:00:00Z"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
}

func TestFailingBucketIsRetryable(t *testing.T) {
	memory, middle := threeBlocks(t)
	bkt := objstoretest.NewFaulty(memory)
	b := openOver(t, bkt, t.TempDir(), Options{})
	away := errors.New("the bucket is away")
	for _, object := range []string{"index", "chunks/"} {
		bkt.Set(objstoretest.Rule{Op: objstore.OpGetRange, Name: middle.String() + "/" + object, Fault: objstoretest.Fail(away)})
		_, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one"))
		var fault *BlockError
		if !errors.As(err, &fault) || !errors.Is(err, away) || !fault.Retryable() {
			t.Errorf("%s: %v", object, err)
		}
		bkt.Set(objstoretest.Rule{Op: objstore.OpGetRange, Name: middle.String() + "/" + object, Fault: objstoretest.Break(3, away)})
		if _, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one")); !errors.Is(err, away) {
			t.Errorf("%s breaks off: %v", object, err)
		}
		bkt.Set()
		mustRead(t, b, 0, 299, equal("__name__", "one"))
	}
}

// A bucket that says once that an object is not there, and then has it, costs a request.
func TestObjectThatIsMissingOnce(t *testing.T) {
	memory, middle := threeBlocks(t)
	for _, object := range []string{"/index", "/chunks/"} {
		for _, warm := range []bool{false, true} {
			bkt := objstoretest.NewFaulty(memory)
			b := openOver(t, bkt, t.TempDir(), Options{})
			if warm {
				mustRead(t, b, 0, 299, equal("__name__", "two"))
			}
			_, missing := memory.Get(t.Context(), "none")
			bkt.Set(objstoretest.Rule{Op: objstore.OpGetRange, Name: middle.String() + object, Times: 1, Fault: objstoretest.Fail(missing)})
			before := bkt.Struck()
			if got := mustRead(t, b, 0, 299, equal("__name__", "one")); got != wholeOne {
				t.Errorf("%s: got %s", object, got)
			}
			if faults := faultsOf(b, middle); len(faults) > 0 || bkt.Struck() != before+1 {
				t.Errorf("%s: in quarantine %v, %d faults", object, faults, bkt.Struck()-before)
			}
		}
	}
}

// The last chunk of a segment whose size nobody knows may end anywhere. One that claims
// gigabytes is broken: the query does not want too much.
func TestChunkThatClaimsGigabytes(t *testing.T) {
	bkt, middle := threeBlocks(t)
	withMeta(t, bkt, middle, func(_, thanos map[string]any) { delete(thanos, "files"); delete(thanos, "index_stats") })
	object := middle.String() + "/chunks/000001"
	content := bytes.Clone(bkt.Objects()[object])
	parts := sealedParts(t, content)
	copy(content[parts[len(parts)-1].from-1:], "\x80\x80\x80\x80\x0c") // a length of 3 GiB
	bkt.Put(object, content)
	b := openOver(t, bkt, t.TempDir(), Options{})
	_, _, err := read(t.Context(), b, 0, 299, equal("__name__", "two"))
	checkFault(t, err, middle, object, ErrCorrupt)
	got, warnings, err := read(partial(t.Context()), b, 0, 299, equal("__name__", "two"))
	if err != nil || got != `{__name__="two", cluster="eu"} 0:0 50:1 200:200 250:201`+"\n" || len(warnings) != 1 {
		t.Errorf("partial: %s, %v, %v", got, warnings.AsErrors(), err)
	}
}

func TestCanceledReadIsNoFaultOfTheBlock(t *testing.T) {
	memory, _ := threeBlocks(t)
	for _, object := range []string{"/index", "/chunks/"} {
		bkt := objstoretest.NewFaulty(memory)
		b := openOver(t, bkt, t.TempDir(), Options{})
		for _, stall := range []objstoretest.Fault{objstoretest.Stall(), objstoretest.StallAfter(5)} {
			bkt.Set(objstoretest.Rule{Op: objstore.OpGetRange, Name: object, Fault: stall})
			ctx, cancel := context.WithTimeout(partial(t.Context()), 10*time.Millisecond)
			_, warnings, err := read(ctx, b, 0, 299, equal("__name__", "one"))
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || len(warnings) != 0 {
				t.Errorf("%s stalls: %v, warnings %v", object, err, warnings)
			}
		}
		bkt.Set()
		mustRead(t, b, 0, 299, equal("__name__", "one"))
	}
}

// A bucket whose every third read stalls costs time, and nothing of the answer.
func TestStallsAreReadOn(t *testing.T) {
	memory, _ := threeBlocks(t)
	synctest.Test(t, func(t *testing.T) {
		bkt := objstoretest.NewFaulty(memory)
		reads := atomic.Int64{}
		bkt.Set(objstoretest.Rule{Op: objstore.OpGetRange, Fault: objstoretest.StallAfter(7), Match: func(_, _ string) bool { return reads.Add(1)%3 == 0 }})
		watched, err := objstore.WithDeadlines(bkt, objstore.DeadlineOptions{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := objstore.WithRetry(watched, objstore.RetryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b := openOver(t, again, t.TempDir(), Options{})
		for range 3 {
			if got := mustRead(t, b, 0, 299, equal("__name__", "one")); got != wholeOne {
				t.Errorf("got %s", got)
			}
		}
		if bkt.Struck() < 3 {
			t.Errorf("only %d reads stalled", bkt.Struck())
		}
	})
}

func TestBrokenLabelCalls(t *testing.T) {
	bkt, middle := threeBlocks(t)
	b := openOver(t, bkt, t.TempDir(), Options{})
	if err := bkt.Delete(t.Context(), middle.String()+"/index"); err != nil {
		t.Fatal(err)
	}
	q, err := b.ChunkQuerier(0, 299)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if _, _, err := q.LabelNames(t.Context(), nil); !errors.Is(err, ErrMissing) {
		t.Errorf("label names: %v", err)
	}
	if _, _, err := q.LabelValues(t.Context(), "__name__", nil, equal("cluster", "eu")); !errors.Is(err, ErrMissing) {
		t.Errorf("label values: %v", err)
	}
	if values, warnings, err := q.LabelValues(partial(t.Context()), "__name__", nil); err != nil || len(warnings) != 1 || len(values) != 2 {
		t.Errorf("partial label values: %v, %v, %v", values, warnings.AsErrors(), err)
	}
	if values, _, err := q.LabelValues(t.Context(), "__name__", nil, equal("cluster", "us")); err != nil || len(values) != 0 {
		t.Errorf("label values of another stream: %v, %v", values, err)
	}
}

func TestBrokenLocalHeaderIsBuiltAnew(t *testing.T) {
	bkt, middle := threeBlocks(t)
	dir := t.TempDir()
	first := openOver(t, bkt, dir, Options{})
	want := mustRead(t, first, 0, 299, like("__name__", ".+"))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, middle.String(), headerFilename)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)/2], "flipped": append([]byte{1}, good[1:]...), "of another block": otherHeader(t),
	} {
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
		b := openOver(t, bkt, dir, Options{})
		if got := mustRead(t, b, 0, 299, like("__name__", ".+")); got != want {
			t.Errorf("%s: got %s", name, got)
		}
		b.Close()
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, good) {
			t.Errorf("%s: the header was not built anew (%v)", name, err)
		}
	}
}

// otherHeader is the header of a block of another size.
func otherHeader(t *testing.T) []byte {
	bkt, dir := objstoretest.NewMemory(), t.TempDir()
	id := blocktest.Put(t, bkt, blocktest.Block{Series: []blocktest.Series{
		{Labels: labels.FromStrings("other", "block"), Samples: blocktest.Floats(0, 10, 1, 0)},
	}})
	mustRead(t, openOver(t, bkt, dir, Options{}), 0, 10)
	header, err := os.ReadFile(filepath.Join(dir, id.String(), headerFilename))
	if err != nil {
		t.Fatal(err)
	}
	return header
}

func TestUnwritableDirectoryIsAnError(t *testing.T) {
	bkt, middle := threeBlocks(t)
	dir := t.TempDir()
	b := openOver(t, bkt, dir, Options{})
	// A file where the block's directory belongs, since root may write anywhere.
	if err := os.WriteFile(filepath.Join(dir, middle.String()), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	_, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one"))
	var fault *BlockError
	if !errors.As(err, &fault) || fault.Block != middle || !strings.Contains(fault.Object, dir) {
		t.Errorf("got %v", err)
	}
}

// A disk that takes no header is no fault of the index.
func TestHeaderThatCannotBeWrittenIsALocalFault(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a directory that not even root may write to")
	}
	bkt, middle := threeBlocks(t)
	dir := t.TempDir()
	b := openOver(t, bkt, dir, Options{})
	if err := os.Symlink("/proc/self", filepath.Join(dir, middle.String())); err != nil {
		t.Fatal(err)
	}
	_, _, err := read(t.Context(), b, 0, 299, equal("__name__", "one"))
	fault, ok := errors.AsType[*BlockError](err)
	if !ok || fault.Block != middle || !strings.HasPrefix(fault.Object, dir) || !fault.Retryable() || !strings.Contains(err.Error(), "disk") {
		t.Errorf("got %v", err)
	}
	if faults := faultsOf(b, middle); len(faults) > 0 {
		t.Errorf("in quarantine: %v", faults)
	}
}
