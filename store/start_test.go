package store

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/filesystem"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// manyBlocks is a bucket with the objects of n blocks of 20 streams as far as a
// start looks at them: ten each, of which meta.json has a content.
func manyBlocks(tb testing.TB, n int) *objstoretest.Memory {
	tb.Helper()
	bkt := objstoretest.NewMemory()
	begin := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	entropy := rand.NewChaCha8([32]byte{})
	for i := range n {
		mint := begin.Add(time.Duration(i/20) * 2 * time.Hour)
		maxt := mint.Add(2 * time.Hour)
		id := ulid.MustNew(ulid.Timestamp(maxt), entropy)
		m := &block.Meta{
			ULID: id, MinTime: mint.UnixMilli(), MaxTime: maxt.UnixMilli(), Version: block.Version1,
			Stats:      block.Stats{NumSamples: 24e6, NumFloatSamples: 24e6, NumSeries: 1e5, NumChunks: 2e5},
			Compaction: block.Compaction{Level: 1, Sources: []ulid.ULID{id}},
			Thanos: block.Thanos{
				Labels: map[string]string{"cluster": "eu-1", "replica": "a", "tenant_id": fmt.Sprint("team-", i%20)},
				Source: block.SourceReceive, UploadTime: maxt.Add(time.Minute),
			},
		}
		for s := 1; s <= 7; s++ {
			m.Thanos.SegmentFiles = append(m.Thanos.SegmentFiles, block.SegmentName(s))
			m.Thanos.Files = append(m.Thanos.Files, block.File{RelPath: "chunks/" + block.SegmentName(s), SizeBytes: 512<<20 - rand.New(entropy).Int64N(1<<20)})
			bkt.Put(block.ChunksObject(id, s), nil)
		}
		m.Thanos.Files = append(m.Thanos.Files, block.File{RelPath: block.IndexFilename, SizeBytes: 1 + rand.New(entropy).Int64N(1<<26)}, block.File{RelPath: block.MetaFilename})
		b, err := m.Encode()
		if err != nil {
			tb.Fatal(err)
		}
		bkt.Put(block.IndexObject(id), nil)
		bkt.Put(block.MetaObject(id), b)
	}
	return bkt
}

func reconcile(tb testing.TB, bkt objstore.Bucket) {
	tb.Helper()
	index, err := block.NewBucketIndex(bkt, block.BucketIndexOptions{})
	if err == nil {
		err = index.Reconcile(tb.Context())
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// onlyIndex is what a start reads of a bucket that has an index.
func onlyIndex(tb testing.TB, n int) *objstoretest.Memory {
	tb.Helper()
	all := manyBlocks(tb, n)
	reconcile(tb, all)
	bkt := objstoretest.NewMemory()
	for name, content := range all.Objects() {
		if strings.HasPrefix(name, block.VarveDirname) {
			bkt.Put(name, content)
		}
	}
	return bkt
}

// far is a bucket with the time to the first byte of a request, and lists of a
// thousand names a request.
type far struct {
	objstore.Bucket
	latency  time.Duration
	requests atomic.Int64
}

func (b *far) request() {
	b.requests.Add(1)
	time.Sleep(b.latency)
}

func (b *far) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	b.request()
	return b.Bucket.Get(ctx, name)
}

func (b *far) Iter(ctx context.Context, dir string, f func(string) error, options ...objstore.IterOption) error {
	return b.IterWithAttributes(ctx, dir, func(attrs objstore.IterObjectAttributes) error { return f(attrs.Name) }, options...)
}

func (b *far) IterWithAttributes(ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, options ...objstore.IterOption) error {
	n := 0
	b.request()
	return b.Bucket.IterWithAttributes(ctx, dir, func(attrs objstore.IterObjectAttributes) error {
		if n++; n%1000 == 0 {
			b.request()
		}
		return f(attrs)
	}, options...)
}

// The requests of a start do not depend on how many blocks there are, and what
// is in memory then is bounded for each of them.
func TestStartOverManyBlocks(t *testing.T) {
	const blocks, most = 10_000, 2_000 // bytes a block
	bkt := &far{Bucket: onlyIndex(t, blocks)}
	before := liveHeap()
	b := openOver(t, bkt, t.TempDir(), Options{})
	after := liveHeap()
	if n := bkt.requests.Load(); n > 2 {
		t.Errorf("%d requests to start over %d blocks, want 2", n, blocks)
	}
	if len(b.set.streams) != 20 {
		t.Errorf("%d streams, want 20", len(b.set.streams))
	}
	held := float64(after-before) / blocks
	t.Logf("%.0f bytes of live heap for each of %d blocks", held, blocks)
	if held > most {
		t.Errorf("%.0f bytes of live heap for each of %d blocks, want no more than %d", held, blocks, most)
	}
	bkt.requests.Store(0)
	mustSync(t, b, 1)
	if n := bkt.requests.Load(); n != 1 {
		t.Errorf("%d requests to look again, want 1", n)
	}
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkStart opens buckets of many blocks that are 30 ms away, with and
// without the index. The ratio is to one request in the same run.
func BenchmarkStart(b *testing.B) {
	const latency = 30 * time.Millisecond
	for _, blocks := range []int{1000, 10_000} {
		bkt := &far{Bucket: manyBlocks(b, blocks)}
		reconcile(b, bkt)
		bkt.latency = latency
		for _, opts := range []Options{{}, {NoIndex: true}} {
			b.Run(fmt.Sprintf("blocks=%d/index=%t", blocks, !opts.NoIndex), func(b *testing.B) {
				var took, floor time.Duration
				bkt.requests.Store(0)
				for b.Loop() {
					begin := time.Now()
					openOver(b, bkt, b.TempDir(), opts)
					took += time.Since(begin)
				}
				requests := bkt.requests.Load()
				for range b.N {
					begin := time.Now()
					bkt.request()
					floor += time.Since(begin)
				}
				b.ReportMetric(float64(requests)/float64(b.N), "requests")
				b.ReportMetric(took.Seconds()/float64(b.N), "s")
				b.ReportMetric(float64(took)/float64(floor), "x-one-request")
			})
		}
	}
}

// BenchmarkStartMemory prints the resident memory of a process that has started
// over many blocks and answered nothing yet, and that of one that has not.
func BenchmarkStartMemory(b *testing.B) {
	if _, err := os.ReadFile("/proc/self/status"); err != nil {
		b.Skip(err)
	}
	dir := b.TempDir()
	bkt, err := filesystem.NewBucket(dir)
	if err != nil {
		b.Fatal(err)
	}
	for name, content := range onlyIndex(b, 10_000).Objects() {
		if err := bkt.Upload(b.Context(), name, strings.NewReader(string(content))); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for _, child := range []struct{ dir, unit string }{{dir, "peak-MB"}, {b.TempDir(), "peak-MB-of-none"}} {
			cmd := exec.Command(os.Args[0], "-test.run=^TestStartMemoryChild$", "-test.v")
			cmd.Env = append(os.Environ(), startMemoryEnv+"="+child.dir)
			out, err := cmd.Output()
			if err != nil {
				b.Fatal(err, string(out))
			}
			var kb float64
			_, rest, _ := strings.Cut(string(out), "VmHWM:")
			if _, err := fmt.Sscan(rest, &kb); err != nil {
				b.Fatal(err, string(out))
			}
			b.ReportMetric(kb/1000, child.unit)
		}
	}
}

const startMemoryEnv = "VARVE_START_MEMORY_DIR"

// TestStartMemoryChild is the process that BenchmarkStartMemory measures.
func TestStartMemoryChild(t *testing.T) {
	dir := os.Getenv(startMemoryEnv)
	if dir == "" {
		t.Skip("it is run by BenchmarkStartMemory")
	}
	bkt, err := filesystem.NewBucket(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := openOver(t, bkt, t.TempDir(), Options{})
	mustSync(t, b, 2)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(status))
}
