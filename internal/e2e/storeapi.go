package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
)

// scrapes are the same samples for everybody that is asked: counters that are reset
// now and then, gauges with gaps, and native histograms, from a while ago until now.
type scrapes struct {
	from, to time.Time
	every    time.Duration
}

func newScrapes() scrapes {
	to := time.Now().Truncate(15 * time.Second)
	return scrapes{from: to.Add(-45 * time.Minute), to: to, every: 15 * time.Second}
}

// requests returns the samples as bodies of remote write 1.0, each of a few minutes.
func (s scrapes) requests(t *testing.T) (bodies [][]byte) {
	t.Helper()
	for from := s.from; from.Before(s.to); from = from.Add(5 * time.Minute) {
		byName := map[string]*prompb.TimeSeries{}
		var order []string
		add := func(name, instance string) *prompb.TimeSeries {
			key := name + instance
			if byName[key] == nil {
				byName[key] = &prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: name}, {Name: "instance", Value: instance}, {Name: "job", Value: "e2e"}}}
				order = append(order, key)
			}
			return byName[key]
		}
		for at := from; at.Before(from.Add(5*time.Minute)) && !at.After(s.to); at = at.Add(s.every) {
			n := at.Unix() / 15
			for i := range int64(6) {
				instance := fmt.Sprintf("host-%d", i)
				one := func(name string, v float64) {
					series := add(name, instance)
					series.Samples = append(series.Samples, prompb.Sample{Value: v, Timestamp: at.UnixMilli()})
				}
				// Not near zero, where rate differs between versions of the engine.
				one("api_requests_total", float64(5000+(n*(i+1))%997))
				if (n+i*7)%20 > 3 {
					one("api_queue_length", math.Round(100*math.Sin(float64(n+i))))
				}
				h := &histogram.Histogram{
					Schema: 1, ZeroThreshold: 0.001, Count: uint64(2*(n%500) + 4), Sum: float64(n % 500), ZeroCount: 1,
					PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{n%500 + 1, 1},
				}
				series := add("api_seconds", instance)
				series.Histograms = append(series.Histograms, prompb.FromIntHistogram(at.UnixMilli(), h))
			}
		}
		request := &prompb.WriteRequest{}
		for _, key := range order {
			request.Timeseries = append(request.Timeseries, *byName[key])
		}
		body, err := request.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, snappy.Encode(nil, body))
	}
	return bodies
}

// write sends all samples to a receiver of remote write.
func (s scrapes) write(t *testing.T, address string) {
	t.Helper()
	for _, body := range s.requests(t) {
		eventually(t, 30*time.Second, func() error {
			req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, address, bytes.NewReader(body))
			if err != nil {
				return err
			}
			req.Header.Set("Content-Type", "application/x-protobuf")
			req.Header.Set("Content-Encoding", "snappy")
			req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			if text, _ := io.ReadAll(res.Body); res.StatusCode/100 != 2 {
				return fmt.Errorf("%s: %s: %s", address, res.Status, text)
			}
			return nil
		})
	}
}

// startThanosQuery starts a Thanos Query over endpoints and returns the address of
// its API.
func startThanosQuery(t *testing.T, more []string, endpoints ...string) string {
	t.Helper()
	address := freeAddress(t)
	args := append([]string{"query", "--http-address=" + address, "--grpc-address=" + freeAddress(t), "--query.replica-label=replica", "--query.replica-label=receive_replica"}, more...)
	for _, e := range endpoints {
		args = append(args, "--endpoint="+e)
	}
	start(t, "thanos-query", peer(t, "thanos"), args...).ready(t, "http://"+address+"/-/ready")
	return address
}

// startVarveQuery is startThanosQuery for the example program query.
func startVarveQuery(t *testing.T, binary string, more []string, endpoints ...string) string {
	t.Helper()
	address := freeAddress(t)
	args := append([]string{"--http-address=" + address, "--grpc-address=" + freeAddress(t), "--query.replica-label=replica", "--query.replica-label=receive_replica", "--log.level=debug"}, more...)
	for _, e := range endpoints {
		args = append(args, "--endpoint="+e)
	}
	start(t, "varve-query", binary, args...).ready(t, "http://"+address+"/-/ready")
	return address
}

// knownStore is an endpoint as Thanos Query lists it.
type knownStore struct {
	Name      string
	LastError any
	LabelSets []map[string]string
	MinTime   int64
	MaxTime   int64
	kind      string
}

// knownStores returns the endpoints that a Thanos Query lists, by address.
func knownStores(address string) (map[string]knownStore, error) {
	res, err := http.Get("http://" + address + "/api/v1/stores")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer struct{ Data map[string][]knownStore }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil, err
	}
	found := map[string]knownStore{}
	for kind, list := range answer.Data {
		for _, s := range list {
			s.kind = kind
			found[s.Name] = s
		}
	}
	return found, nil
}

// storeQueries are asked of Thanos Query and of ours.
var storeQueries = []string{
	`api_requests_total`,
	`sum by (job) (rate(api_requests_total[2m]))`,
	`increase(api_requests_total{instance="host-1"}[5m])`,
	`api_queue_length > 10`,
	`max_over_time(api_queue_length[3m])`,
	`count by (instance) (api_queue_length)`,
	`api_seconds{instance=~"host-[12]"}`,
	`histogram_quantile(0.9, sum(rate(api_seconds[3m])))`,
	`count({__name__=~"api_.+"})`,
	`absent(api_nothing)`,
	`topk(2, api_requests_total)`,
	`quantile_over_time(0.3, api_queue_length[5m:30s])`,
}

// onlyExternal is a query whose matchers are all about external labels, which Thanos'
// stores refuse to answer as it is.
const onlyExternal = `count({tenant_id="default-tenant"})`

// sameOverStores asks two queriers over the same endpoints the same, with and without
// dedup.
func sameOverStores(t *testing.T, thanos, ours string, s scrapes) {
	t.Helper()
	for _, dedup := range []string{"true", "false"} {
		for _, q := range storeQueries {
			ask := func(address string) answer {
				e, err := get(address, "/api/v1/query_range", url.Values{
					"query": {q}, "step": {"60"}, "dedup": {dedup}, "partial_response": {"false"},
					"start": {strconv.FormatInt(s.from.Add(10*time.Minute).Unix(), 10)}, "end": {strconv.FormatInt(s.to.Unix(), 10)},
				})
				if err != nil {
					t.Fatalf("dedup=%s %s: %v", dedup, q, err)
				}
				return parseAll(t, e)
			}
			want, got := ask(thanos), ask(ours)
			if want.points() == 0 {
				t.Errorf("dedup=%s %s: Thanos answers nothing", dedup, q)
			}
			if d := diff(want, got); d != "" {
				t.Errorf("dedup=%s %s: ours is not Thanos' answer:\n%s", dedup, q, d)
			}
		}
		for _, path := range []string{"/api/v1/labels", "/api/v1/label/instance/values", "/api/v1/label/replica/values", "/api/v1/series"} {
			ask := func(address string) string {
				e, err := getGet(address, path, url.Values{
					"match[]": {`api_requests_total`}, "dedup": {dedup}, "partial_response": {"false"},
					"start": {strconv.FormatInt(s.from.Unix(), 10)}, "end": {strconv.FormatInt(s.to.Unix(), 10)},
				})
				if err != nil {
					t.Fatalf("dedup=%s %s: %v", dedup, path, err)
				}
				return string(e.Data)
			}
			if want, got := ask(thanos), ask(ours); want != got || len(strings.TrimSpace(want)) < 5 {
				t.Errorf("dedup=%s %s: %s, Thanos says %s", dedup, path, got, want)
			}
		}
	}
}

// getGet is get by the method of that name: Thanos takes no other for the values of a
// label.
func getGet(address, path string, params url.Values) (e envelope, err error) {
	res, err := http.Get("http://" + address + path + "?" + params.Encode())
	if err != nil {
		return e, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
		return e, fmt.Errorf("%s%s: %s: %w", address, path, res.Status, err)
	}
	if e.Status != "success" {
		return e, fmt.Errorf("%s%s: %s: %s: %s", address, path, res.Status, e.ErrorType, e.Error)
	}
	return e, nil
}

// parseAll is parse with all labels.
func parseAll(t *testing.T, e envelope) answer {
	t.Helper()
	return parseNamed(t, e, func(metric map[string]string) string {
		name, _ := json.Marshal(metric) // sorted by key
		return string(name)
	})
}
