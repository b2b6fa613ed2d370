package wiring

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store"
)

// deafBucket hangs in reads of some objects until it is released, whatever
// becomes of their contexts.
type deafBucket struct {
	objstore.Bucket
	hangs   atomic.Pointer[string] // part of the names of those objects, nil for none
	inBody  bool                   // it answers, and hangs when the body is read
	release chan struct{}
}

func (b *deafBucket) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	if part := b.hangs.Load(); part == nil || !strings.Contains(name, *part) {
		return b.Bucket.GetRange(ctx, name, off, length)
	}
	if !b.inBody {
		<-b.release
	}
	r, err := b.Bucket.GetRange(context.WithoutCancel(ctx), name, off, length)
	if err != nil {
		return nil, err
	}
	return deafBody{r, b.release}, nil
}

type deafBody struct {
	io.ReadCloser
	release chan struct{}
}

func (b deafBody) Read(p []byte) (int, error) {
	<-b.release
	return b.ReadCloser.Read(p)
}

// A query ends by its deadline though the bucket hangs and does not heed
// contexts, whatever it hangs in: were it not so, this test would not end.
func TestQueryEndsThoughTheBucketHangs(t *testing.T) {
	memory := objstoretest.NewMemory()
	var series []blocktest.Series
	for _, pod := range []string{"1", "2", "3"} {
		series = append(series, blocktest.Series{Labels: labels.FromStrings("__name__", "up", "pod", pod), Samples: blocktest.Floats(0, 600_000, 15_000, 0)})
	}
	blocktest.Put(t, memory, blocktest.Block{Series: series})
	for _, inBody := range []bool{false, true} {
		for hangsIn, warm := range map[string]bool{"index": false, "warm index": true, "chunks/": true} {
			bkt := &deafBucket{Bucket: memory, inBody: inBody, release: make(chan struct{})}
			hist, err := store.Open(bkt, t.TempDir(), store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := hist.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			engine, err := query.NewEngine(query.EngineOptions{MaxConcurrent: 1})
			if err != nil {
				t.Fatal(err)
			}
			h, err := query.NewHandler(engine, query.NewFanout([]storage.ChunkQueryable{hist}, query.FanoutOptions{}), query.HandlerOptions{})
			if err != nil {
				t.Fatal(err)
			}
			get := func(target string) *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/"+target, nil))
				return w
			}
			const expr = "query?query=count(up)&time=300"
			if warm {
				if w := get(expr); w.Code != http.StatusOK {
					t.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			object := strings.TrimPrefix(hangsIn, "warm ")
			bkt.hangs.Store(&object)
			if w := get(expr + "&timeout=50ms"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "timeout") {
				t.Errorf("%s, in a body %v: %d %s", hangsIn, inBody, w.Code, w.Body)
			}
			// Nothing of it is in the way of the end, nor of others.
			bkt.hangs.Store(nil)
			if w := get(expr); w.Code != http.StatusOK {
				t.Errorf("%s, in a body %v: afterwards %d %s", hangsIn, inBody, w.Code, w.Body)
			}
			if err := hist.Close(); err != nil {
				t.Error(err)
			}
			close(bkt.release)
		}
	}
}

// A context that ends is enough, without a deadline, and the querier can be
// closed.
func TestQuerierClosesThoughTheBucketHangs(t *testing.T) {
	memory := objstoretest.NewMemory()
	blocktest.Put(t, memory, blocktest.Block{Series: []blocktest.Series{{Labels: labels.FromStrings("a", "b"), Samples: blocktest.Floats(0, 100, 10, 0)}}})
	bkt := &deafBucket{Bucket: memory, release: make(chan struct{})}
	bkt.hangs.Store(new(string)) // all of them
	defer close(bkt.release)
	hist, err := store.Open(bkt, t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := hist.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	q, err := hist.ChunkQuerier(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	set := q.Select(ctx, true, nil, labels.MustNewMatcher(labels.MatchEqual, "a", "b"))
	time.AfterFunc(10*time.Millisecond, cancel)
	if set.Next() || set.Err() == nil {
		t.Errorf("the set ended with %v", set.Err())
	}
	for _, closing := range []func() error{q.Close, hist.Close} {
		if err := closing(); err != nil {
			t.Error(err)
		}
	}
}
