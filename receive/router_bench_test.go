package receive

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// BenchmarkRoute routes 2,000 series of 9 labels at a time. The peers take no
// time, so ns/series is what deciding where a series belongs, encoding it for
// each of its receivers and counting their votes cost; copied B/series are the
// bytes that are made of it for all of them, beside those it came in. The series
// are known from the second time on, or are new each time, or nothing is
// remembered of any.
func BenchmarkRoute(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		for _, version := range []writepb.Version{writepb.V1, writepb.V2} {
			for _, series := range []string{"known", "new", "forgotten"} {
				b.Run(fmt.Sprintf("replicas=%d/version=%s/series=%s", replicas, version, series), func(b *testing.B) {
					benchRoute(b, replicas, version, series)
				})
			}
		}
	}
}

func benchRoute(b *testing.B, replicas int, version writepb.Version, series string) {
	var copied, calls atomic.Int64
	dial := func(Endpoint) (Peer, error) {
		return PeerFunc(func(_ context.Context, req *PeerRequest) error {
			copied.Add(int64(len(req.Tenants[0].Message)))
			calls.Add(1)
			return nil
		}), nil
	}
	rings := testHashrings(b, AlgorithmKetama, replicas, "a:1", "b:1", "c:1", "d:1", "e:1")
	opts := RouterOptions{}
	if series == "forgotten" {
		opts.MaxKnownSeries = -1
	}
	router := newTestRouter(b, fixed(rings), "", dial, opts)
	h := newTestHandler(b, nil, HandlerOptions{Router: router})
	msg := benchRequest(0)
	body, err := msg.Marshal()
	if version == writepb.V2 {
		body, err = v2Of(msg).Marshal()
	}
	if err != nil {
		b.Fatal(err)
	}
	s := newHandlerScratch()
	route := func() {
		if series == "new" {
			router.hashes.table.reset()
		}
		if err := s.run.req.Reset(version, body); err != nil {
			b.Fatal(err)
		}
		s.run.tenant, s.run.limits = "team", h.limits(&admission{}, len(body))
		if err := router.route(b.Context(), &s.run); err != nil || s.run.tally.samples[ReasonStored][floatSample] != benchSeries {
			b.Fatal(err, s.run.tally)
		}
		s.run.forget()
	}
	route()
	copied.Store(0)
	calls.Store(0)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		route()
	}
	perSeries := 1 / (float64(b.N) * benchSeries)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())*perSeries, "ns/series")
	b.ReportMetric(float64(copied.Load())*perSeries, "copied-B/series")
	b.ReportMetric(float64(len(body))/benchSeries, "sent-B/series")
	b.ReportMetric(float64(calls.Load())/float64(b.N), "calls/op")
}
