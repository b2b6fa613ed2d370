package storeapi

import (
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/prometheus/storage"
	"google.golang.org/grpc"
)

// Readers that stall cost a message or two and the window of HTTP/2, both sides
// together, however much there is to be read. The window is fixed here; without that
// gRPC lets it grow with the connection.
func TestStalledReadersCostLittle(t *testing.T) {
	const window = 256 << 10
	source := &fixed{endless: true}
	c := over(t, source, way{dial: []grpc.DialOption{grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(64 << 20)}})
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	const readers = 30
	var queriers []storage.ChunkQuerier
	for range readers {
		q, err := c.ChunkQuerier(0, 1)
		if err != nil {
			t.Fatal(err)
		}
		queriers = append(queriers, q)
		if set := q.Select(t.Context(), true, nil, equal("a", "")); !set.Next() {
			t.Fatal(set.Err())
		}
	}
	for made, still := int64(-1), 0; still < 5; time.Sleep(20 * time.Millisecond) {
		if now := source.made.Load(); now != made {
			made, still = now, 0
			continue
		}
		still++
	}
	took := (int64(heap()) - int64(before)) / readers
	t.Logf("%d KiB a reader, %d series of about 300 bytes made for each", took>>10, source.made.Load()/readers)
	if took > 2<<20 {
		t.Errorf("each reader costs %d KiB", took>>10)
	}
	if made := source.made.Load() / readers; made > 4*window/300 {
		t.Errorf("the source is %d series ahead of each reader", made)
	}
	for _, q := range queriers {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}
}
