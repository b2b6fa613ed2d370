package receive

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/protobuf/encoding/protowire"
)

// overloadBudget is the in-flight bytes of the server under overload: half of what
// 80 requests of 2,000 samples take at once.
const overloadBudget = 32 << 20

// writeLimits are the limits of a server process by its mode: one that is held by
// its turns and requests, one by its bytes alone, and one by nothing.
var writeLimits = map[string]*LimitSet{
	"turns":     {Global: GlobalLimits{InFlightBytes: overloadBudget, InFlightRequests: 40}},
	"bytes":     {Global: GlobalLimits{InFlightBytes: overloadBudget, Concurrency: -1}},
	"unlimited": {Global: GlobalLimits{InFlightBytes: -1, InFlightRequests: -1, Concurrency: -1}},
}

// overloadShard is series that one sender at a time sends, in order. Only the
// times change from scrape to scrape, so that senders, which share the machine
// with the server, cost little.
type overloadShard struct {
	raw    []byte // 1.0, before compression
	ends   []int  // of each series in raw, whose time comes last
	scrape int
	body   []byte // of the scrape, empty if it is to be encoded
	obeys  bool   // Retry-After
}

func newOverloadShard(b *testing.B, i int) *overloadShard {
	s := &overloadShard{obeys: i%2 == 0}
	for n := range writeRequest {
		msg := v1(prompb.TimeSeries{Labels: writeLabels(i*writeRequest + n), Samples: []prompb.Sample{{Timestamp: writeTime(0), Value: float64(n + 1)}}})
		raw, err := msg.Marshal()
		if err != nil {
			b.Fatal(err)
		}
		s.raw = append(s.raw, raw...)
		s.ends = append(s.ends, len(s.raw))
	}
	return s
}

func (s *overloadShard) encode() {
	at := protowire.AppendVarint(nil, uint64(writeTime(s.scrape)))
	for _, end := range s.ends {
		copy(s.raw[end-len(at):end], at)
	}
	s.body = s2.EncodeSnappy(s.body[:cap(s.body)], s.raw)
}

// send sends the next scrape, once, and returns how long to wait before it is
// sent again: zero if it is stored, backoff or what the server asks for if not.
func (s *overloadShard) send(b *testing.B, c *writeChild, client *http.Client, backoff time.Duration) time.Duration {
	if len(s.body) == 0 {
		s.encode()
	}
	req, _ := http.NewRequest(http.MethodPost, "http://"+c.address+"/write", bytes.NewReader(s.body))
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Content-Type", typeV1)
	res, err := client.Do(req)
	if err != nil {
		return backoff // As Prometheus does.
	}
	text, _ := io.ReadAll(res.Body)
	res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNoContent:
		s.scrape, s.body = s.scrape+1, s.body[:0]
		return 0
	case res.StatusCode != http.StatusServiceUnavailable:
		b.Errorf("status %d: %s", res.StatusCode, text)
	}
	after, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil {
		b.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
	}
	if s.obeys {
		return time.Duration(after) * time.Second
	}
	return backoff
}

// overloadSide is a server process and those who send to it.
type overloadSide struct {
	c               *writeChild
	shards          []*overloadShard
	senders         int
	client          *http.Client
	stored, refused atomic.Int64 // samples
	cpu             float64      // seconds of the server
}

func startOverloadSide(b *testing.B, mode string, senders int) *overloadSide {
	s := &overloadSide{c: startWriteChild(b, mode), senders: senders}
	s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	for i := range overloadSenders {
		s.shards = append(s.shards, newOverloadShard(b, i))
		for s.shards[i].send(b, s.c, s.client, time.Millisecond) > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return s
}

// offer has the senders share the shards and send for a time, after a start that
// is not counted. They come again as Prometheus does: 30 ms later, twice as long
// each time, up to 5 s.
func (s *overloadSide) offer(b *testing.B, lead, length time.Duration) {
	from := time.Now().Add(lead)
	until := from.Add(length)
	before := s.c.get(b, "/usage")
	var wg sync.WaitGroup
	for sender := range s.senders {
		wg.Go(func() {
			backoff := 30 * time.Millisecond
			for i := sender; time.Now().Before(until); {
				wait := s.shards[i].send(b, s.c, s.client, backoff)
				if now := time.Now(); now.After(from) && now.Before(until) {
					if wait == 0 {
						s.stored.Add(writeRequest)
					} else {
						s.refused.Add(writeRequest)
					}
				}
				if wait == 0 {
					i, backoff = (i+s.senders)%len(s.shards), 30*time.Millisecond
					continue
				}
				backoff = min(2*backoff, 5*time.Second)
				time.Sleep(min(wait+rand.N(time.Millisecond), time.Until(until)))
			}
		})
	}
	wg.Wait()
	s.cpu += s.c.get(b, "/usage").CPU - before.CPU
}

// overloadSenders are ten times those who make full use of a server.
const overloadSenders = 10 * writeSenders

// BenchmarkOverload measures what a server process stores from 8 senders, and
// what another does from ten times as many that come again when they are
// refused, half of them without regard for Retry-After. The two take turns, so
// that a machine that is busy slows both. It prints the second over the first,
// in samples a second and a CPU second, and the difference of the memory they
// took at most over the budget for bodies.
//
//	go test ./receive -run '^$' -bench Overload -benchtime 1x
func BenchmarkOverload(b *testing.B) {
	const (
		rounds = 5
		lead   = 500 * time.Millisecond
		length = 2 * time.Second
	)
	for _, mode := range []string{"turns", "bytes", "unlimited"} {
		b.Run(mode, func(b *testing.B) {
			for range b.N {
				usual, over := startOverloadSide(b, mode, writeSenders), startOverloadSide(b, mode, overloadSenders)
				for range rounds {
					usual.offer(b, lead, length)
					over.offer(b, lead, length)
				}
				usualPeak, overPeak := usual.c.get(b, "/usage").PeakRSS, over.c.get(b, "/usage").PeakRSS
				usual.c.stop()
				over.c.stop()
				usual.client.CloseIdleConnections()
				over.client.CloseIdleConnections()
				stored, goodput := float64(usual.stored.Load()), float64(over.stored.Load())
				b.ReportMetric(stored/(rounds*length).Seconds(), "capacity-samples/s")
				b.ReportMetric(goodput/(rounds*length).Seconds(), "goodput-samples/s")
				b.ReportMetric(goodput/stored, "goodput/capacity")
				b.ReportMetric(goodput/over.cpu/(stored/usual.cpu), "goodput/capacity-per-cpu")
				b.ReportMetric(float64(over.refused.Load())/goodput, "refused/stored")
				b.ReportMetric(float64(usualPeak)/1e6, "capacity-peak-MB")
				b.ReportMetric(float64(overPeak)/1e6, "overload-peak-MB")
				b.ReportMetric(float64(overPeak-usualPeak)/overloadBudget, "peak-growth/budget")
			}
		})
	}
}
