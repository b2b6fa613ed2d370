package receive

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// The load of the figures: 100,000 series of 9 labels, 20 scrapes, 2,000 samples
// a request, 8 senders.
const (
	writeSeries  = 100_000
	writeScrapes = 20
	writeRequest = 2_000
	writeSenders = 8
)

// writeLabels are the labels of series i.
func writeLabels(i int) []prompb.Label {
	metric, target := i%200, i/200
	return []prompb.Label{
		{Name: "__name__", Value: fmt.Sprintf("http_server_requests_metric_%03d_total", metric)},
		{Name: "cluster", Value: "eu-west-1-production"},
		{Name: "container", Value: fmt.Sprintf("service-%d", target%50)},
		{Name: "instance", Value: fmt.Sprintf("10.%d.%d.%d:9090", target/2500, target/50%50, target%50)},
		{Name: "job", Value: fmt.Sprintf("job-%d", target%20)},
		{Name: "method", Value: []string{"GET", "POST", "PUT", "DELETE"}[metric%4]},
		{Name: "namespace", Value: fmt.Sprintf("namespace-%d", target%30)},
		{Name: "pod", Value: fmt.Sprintf("service-%d-7d9c5b8f6-%05x", target%50, target*2654435761&0xfffff)},
		{Name: "status", Value: fmt.Sprint(200 + metric%5*100)},
	}
}

// writeValue is what series i has at a scrape: counters of several speeds, and a
// third of them gauges.
func writeValue(i, scrape int) float64 {
	if i%3 == 0 {
		return float64(i%1000) + float64((i*7919+scrape*104729)%1000)/8
	}
	return float64(i) + float64(scrape*(i%97))
}

func writeTime(scrape int) int64 { return base + int64(scrape)*15_000 }

// writeUsage is what a process has used so far.
type writeUsage struct {
	CPU     float64 // user and system seconds
	RSS     int64   // bytes
	PeakRSS int64   // bytes
	HeapMB  float64 // live, after a collection
}

// writeChild is another process of this binary that serves or appends.
type writeChild struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	address string
}

func startWriteChild(tb testing.TB, mode string) *writeChild {
	tb.Helper()
	return startWriteChildIn(tb, mode, tb.TempDir())
}

func startWriteChildIn(tb testing.TB, mode, dir string) *writeChild {
	tb.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), writeChildMode+"="+mode, writeChildDir+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		tb.Fatal("the child did not start: ", err)
	}
	return &writeChild{cmd: cmd, stdin: stdin, address: strings.TrimSpace(line)}
}

func (c *writeChild) stop() {
	_ = c.stdin.Close()
	_ = c.cmd.Wait()
}

func (c *writeChild) get(tb testing.TB, path string) writeUsage {
	tb.Helper()
	res, err := http.Get("http://" + c.address + path)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	var u writeUsage
	if err := json.NewDecoder(res.Body).Decode(&u); err != nil {
		tb.Fatal(err)
	}
	return u
}

// writeLoad makes the requests of a scrape.
type writeLoad struct {
	version string
	kind    writeKind
}

func (l writeLoad) encode(tb testing.TB, first, n, scrape int) []byte {
	msg := &prompb.WriteRequest{}
	for i := first; i < first+n; i++ {
		s := prompb.TimeSeries{Labels: writeLabels(i)}
		l.kind.fill(&s, i, scrape)
		msg.Timeseries = append(msg.Timeseries, s)
	}
	var raw []byte
	var err error
	if l.version == "2.0" {
		raw, err = v2Of(msg).Marshal()
	} else {
		raw, err = msg.Marshal()
	}
	if err != nil {
		tb.Error(err)
	}
	return snappy.Encode(nil, raw)
}

// encodeAll returns the bodies of each scrape, made beforehand so that the
// senders take little of the machine that is measured.
func (l writeLoad) encodeAll(tb testing.TB) [][][]byte {
	scrapes := make([][][]byte, writeScrapes)
	for scrape := range scrapes {
		for first := 0; first < l.kind.series; first += writeRequest {
			scrapes[scrape] = append(scrapes[scrape], l.encode(tb, first, writeRequest, scrape))
		}
	}
	return scrapes
}

// send sends the bodies of a scrape to the child, and wants them to be stored.
func (l writeLoad) send(tb testing.TB, c *writeChild, client *http.Client, bodies [][]byte) {
	inParallel(len(bodies), func(i int) {
		req, _ := http.NewRequest(http.MethodPost, "http://"+c.address+"/write", bytes.NewReader(bodies[i]))
		req.Header.Set("Content-Encoding", "snappy")
		req.Header.Set("Content-Type", map[string]string{"1.0": typeV1, "2.0": typeV2}[l.version])
		res, err := client.Do(req)
		if err != nil {
			tb.Error(err)
			return
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusNoContent {
			tb.Errorf("status %d: %s", res.StatusCode, text)
		}
	})
}

// inParallel does n things, as many at once as there are senders.
func inParallel(n int, do func(i int)) {
	var next atomic.Int64
	var senders sync.WaitGroup
	for range writeSenders {
		senders.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	senders.Wait()
}

func writeClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: writeSenders}}
}

// BenchmarkRemoteWrite prints the samples that a server process stores per
// second of its user and system time, over real HTTP, beside the floor: the
// same samples appended to the same head by reference by as many goroutines, in
// a process of its own.
//
// Of the first scrape, which makes all series, six profiles of one scrape each, by
// VARVE_WRITE_PROFILE, give the TSDB's own appending and committing 53 hundredths,
// collecting garbage 9, HTTP and Snappy some 10. What is left is spread thin: building labels 7, decoding 6, remembering
// references 4, claims and finding what the request has of a series already 3 each.
//
//	go test ./receive -run '^$' -bench 'RemoteWrite$' -benchtime 1x
func BenchmarkRemoteWrite(b *testing.B) { benchmarkRemoteWrite(b, "floats") }

// BenchmarkRemoteWriteHistograms is BenchmarkRemoteWrite of native histograms.
//
// A profile gives the head more than half, nearly all of it in writing buckets
// into chunks bit by bit. A seventh goes into decoding histograms, half of that
// into making their slices, which the head keeps; a tenth into finding and reading
// series that are known already, since only single floats have a path of their
// own; and each histogram is validated twice, here and by the head.
//
//	go test ./receive -run '^$' -bench RemoteWriteHistograms -benchtime 1x
func BenchmarkRemoteWriteHistograms(b *testing.B) { benchmarkRemoteWrite(b, "histograms") }

// BenchmarkRemoteWriteExemplars is BenchmarkRemoteWrite where every tenth sample
// has an exemplar.
//
// A profile gives the head's exemplars an eighth: it looks the labels of their series
// up twice, when they are appended and when they are committed. What is left beyond
// BenchmarkRemoteWrite is the labels of the series with an exemplar, which are
// read for nothing once the series is known.
//
//	go test ./receive -run '^$' -bench RemoteWriteExemplars -benchtime 1x
func BenchmarkRemoteWriteExemplars(b *testing.B) { benchmarkRemoteWrite(b, "exemplars") }

func benchmarkRemoteWrite(b *testing.B, name string) {
	kind := writeKinds[name]
	series := float64(kind.series)
	var floor, floorFirst float64
	b.Run("floor", func(b *testing.B) {
		for range b.N {
			c := startWriteChild(b, "floor-"+name)
			first := c.get(b, "/append?from=0&to=1")
			all := c.get(b, fmt.Sprintf("/append?from=1&to=%d", writeScrapes))
			c.stop()
			floorFirst = series / first.CPU
			floor = series * writeScrapes / (first.CPU + all.CPU)
			b.ReportMetric(floor, "samples/cpu-s")
			b.ReportMetric(floorFirst, "first/cpu-s")
			b.ReportMetric(series*(writeScrapes-1)/all.CPU, "steady/cpu-s")
			b.ReportMetric(float64(all.PeakRSS)/1e6, "peak-MB")
		}
	})
	for _, l := range []writeLoad{{"1.0", kind}, {"2.0", kind}} {
		b.Run("version="+l.version, func(b *testing.B) {
			scrapes := l.encodeAll(b)
			for range b.N {
				c := startWriteChild(b, "server")
				client := writeClient()
				before := c.get(b, "/usage")
				l.send(b, c, client, scrapes[0])
				first := c.get(b, "/usage")
				for _, bodies := range scrapes[1:] {
					l.send(b, c, client, bodies)
				}
				all := c.get(b, "/usage")
				client.CloseIdleConnections()
				c.stop()
				rate := series * writeScrapes / (all.CPU - before.CPU)
				rateFirst := series / (first.CPU - before.CPU)
				b.ReportMetric(rate, "samples/cpu-s")
				b.ReportMetric(series*(writeScrapes-1)/(all.CPU-first.CPU), "steady/cpu-s")
				b.ReportMetric(rateFirst, "first/cpu-s")
				b.ReportMetric(float64(all.PeakRSS)/1e6, "peak-MB")
				if floor > 0 {
					b.ReportMetric(rate/floor, "of-floor")
					b.ReportMetric(rateFirst/floorFirst, "first-of-floor")
				}
			}
		})
	}
}
