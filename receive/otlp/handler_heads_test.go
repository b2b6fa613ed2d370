package otlp

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/varve-tsdb/varve/receive"
)

// readFloats returns all float samples of a metric in heads, by labels and time.
func readFloats(t *testing.T, heads *receive.Tenants, metric string) map[string]float64 {
	t.Helper()
	q, err := heads.ChunkQuerier(0, math.MaxInt64/2)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	found := map[string]float64{}
	set := storage.NewSeriesSetFromChunkSeriesSet(q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", metric)))
	for set.Next() {
		for it := set.At().Iterator(nil); it.Next() == chunkenc.ValFloat; {
			at, v := it.At()
			found[fmt.Sprint(set.At().Labels(), at)] = v
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

func openHeads(t *testing.T) *receive.Tenants {
	t.Helper()
	heads, err := receive.OpenTenants(t.TempDir(), receive.TenantsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := heads.Close(); err != nil {
			t.Error(err)
		}
	})
	return heads
}

// A head knows only the newest sample of a series, and yet a request with many
// may be sent again.
func TestRepeatedRequestOverHeads(t *testing.T) {
	heads := openHeads(t)
	h := newTestHandler(t, heads, Options{})
	md, ms := newRequest()
	m := ms.AppendEmpty()
	m.SetName("temp")
	from := time.Now().Add(-time.Minute).Truncate(time.Second)
	ps := m.SetEmptyGauge().DataPoints()
	for _, i := range []int{2, 0, 1} { // The order of points means nothing.
		p := ps.AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(from.Add(time.Duration(i) * time.Second)))
		p.SetIntValue(int64(i))
	}
	for range 3 {
		send(t, h, md).stored(t)
	}
	if got := readFloats(t, heads, "temp"); len(got) != 3 {
		t.Errorf("stored %v", got)
	}
}

// Requests at once do not disturb each other, nor do the streams they add to.
func TestRequestsAtOnce(t *testing.T) {
	const senders, requests = 4, 25
	heads := openHeads(t)
	h := newTestHandler(t, heads, Options{Delta: DeltaCumulative})
	from := time.Now().Add(-time.Minute)
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for i := range requests {
				at := pcommon.NewTimestampFromTime(from.Add(time.Duration(i) * time.Second))
				md, ms := newRequest()
				sum(ms, "n", delta, 1, at).Attributes().PutInt("sender", int64(sender))
				explicit(ms, fmt.Sprint("e", sender), delta, at, 1, 2)
				if a := post(t, h, zip(t, proto(t, md)), "Content-Type", protoType, "Content-Encoding", "gzip"); a.status != 200 || a.rejected != 0 {
					t.Errorf("answer %d, %d rejected: %s", a.status, a.rejected, a.text)
				}
			}
		})
	}
	wg.Wait()
	got := readFloats(t, heads, "n_total")
	var last float64
	for _, v := range got {
		last = max(last, v)
	}
	if len(got) != senders*requests || last != requests {
		t.Errorf("%d samples up to %v, want %d up to %d", len(got), last, senders*requests, requests)
	}
}
