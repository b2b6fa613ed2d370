package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// agentSeries is how many series a countedTarget has besides its count.
const agentSeries = 50

// countedTarget serves metrics that say the how manieth scrape they are from, so
// that what has been stored tells whether anything is missing or has changed.
// Agents have no API to ask for what they sent.
type countedTarget struct {
	address string
	scrapes atomic.Int64
}

func startCountedTarget(t *testing.T) *countedTarget {
	t.Helper()
	target := &countedTarget{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := target.scrapes.Add(1)
		fmt.Fprintf(w, "# TYPE counted_scrapes_total counter\ncounted_scrapes_total %d\n# TYPE counted_value gauge\n", n)
		for i := range int64(agentSeries) {
			fmt.Fprintf(w, "counted_value{i=\"%d\"} %d\n", i, n*agentSeries+i)
		}
	}))
	t.Cleanup(server.Close)
	target.address = strings.TrimPrefix(server.URL, "http://")
	return target
}

// config has an agent scrape the target, and in Prometheus' notation write it to
// write.
func (c *countedTarget) config(t *testing.T, remoteWrite string) string {
	t.Helper()
	return writeFile(t, "agent.yml", fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: counted
    static_configs: [{targets: [%q]}]
%s`, c.address, remoteWrite))
}

// startAgent starts a Prometheus that keeps nothing and has no queries.
func startAgent(t *testing.T, name, message string, target *countedTarget, write string) *process {
	t.Helper()
	address := freeAddress(t)
	p := start(t, name, peer(t, "prometheus"), "--agent", "--storage.agent.path="+t.TempDir(), "--web.listen-address="+address,
		"--config.file="+target.config(t, fmt.Sprintf(`remote_write:
  - url: %s
    protobuf_message: %s
    headers: {THANOS-TENANT: %s}
    queue_config: {batch_send_deadline: 500ms}
`, write, message, name)))
	p.ready(t, "http://"+address+"/-/ready")
	return p
}

func startVMAgent(t *testing.T, name string, target *countedTarget, write string) *process {
	t.Helper()
	address := freeAddress(t)
	p := start(t, name, peer(t, "vmagent"), "-httpListenAddr="+address, "-promscrape.config="+target.config(t, ""),
		"-remoteWrite.url="+write, "-remoteWrite.headers=THANOS-TENANT:"+name, "-remoteWrite.tmpDataPath="+t.TempDir(),
		"-remoteWrite.flushInterval=500ms")
	p.ready(t, "http://"+address+"/health")
	return p
}

// Prometheus in agent mode and vmagent send all they have scraped, and get it in
// across a kill of the receiver.
func TestAgents(t *testing.T) {
	allinone, address, dataDir := example(t, "allinone"), freeAddress(t), t.TempDir()
	begin := func() *process {
		p := start(t, "allinone", allinone, "--http-address="+address, "--grpc-address="+freeAddress(t), "--data-dir="+dataDir, "--log.level=debug")
		p.ready(t, "http://"+address+"/-/ready")
		return p
	}
	varve, write := begin(), "http://"+address+"/api/v1/write"
	targets := map[string]*countedTarget{}
	for name, run := range map[string]func(string, *countedTarget){
		"agent-one": func(name string, target *countedTarget) {
			startAgent(t, name, "prometheus.WriteRequest", target, write)
		},
		"agent-two": func(name string, target *countedTarget) {
			startAgent(t, name, "io.prometheus.write.v2.Request", target, write)
		},
		"vmagent": func(name string, target *countedTarget) { startVMAgent(t, name, target, write) },
	} {
		targets[name] = startCountedTarget(t)
		run(name, targets[name])
	}
	arrive := func(scrapes int64) {
		for name, target := range targets {
			until := target.scrapes.Load() + scrapes
			eventually(t, time.Minute, func() error { return target.arrived(t, address, name, until) })
		}
	}
	arrive(5)
	if !strings.Contains(metricsOf(t, address), `code="415"`) {
		t.Error("vmagent has not been told that its own encoding is not understood")
	}
	varve.kill()
	time.Sleep(3 * time.Second)
	begin()
	arrive(5)
}

func metricsOf(t *testing.T, address string) string {
	t.Helper()
	res, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// arrived returns an error unless all scrapes up to and including until are in
// Varve, each with all that it served.
func (c *countedTarget) arrived(t *testing.T, address, tenant string, until int64) error {
	t.Helper()
	e, err := get(address, "/api/v1/query", url.Values{"query": {fmt.Sprintf(`{__name__=~"counted_.*", tenant_id=%q}[10m]`, tenant)}})
	if err != nil {
		return err
	}
	scrapeAt, values := map[string]int64{}, map[string]map[string]int64{}
	for _, s := range samplesOf(t, e) {
		if s.metric["__name__"] == "counted_scrapes_total" {
			scrapeAt[s.at] = s.value
			continue
		}
		if values[s.at] == nil {
			values[s.at] = map[string]int64{}
		}
		values[s.at][s.metric["i"]] = s.value
	}
	seen := map[int64]bool{}
	for at, n := range scrapeAt {
		seen[n] = true
		for i := range int64(agentSeries) {
			if got, ok := values[at][fmt.Sprint(i)]; !ok || got != n*agentSeries+i {
				return fmt.Errorf("%s: scrape %d has %d (%v) for series %d", tenant, n, got, ok, i)
			}
		}
	}
	for n := int64(1); n <= until; n++ {
		if !seen[n] {
			return fmt.Errorf("%s: scrape %d is missing of %d", tenant, n, until)
		}
	}
	return nil
}

// sample is one sample of a matrix.
type sample struct {
	metric map[string]string
	at     string
	value  int64
}

func samplesOf(t *testing.T, e envelope) (samples []sample) {
	t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string
			Values [][2]any
		}
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	for _, r := range data.Result {
		for _, v := range r.Values {
			f, err := strconv.ParseFloat(v[1].(string), 64)
			if err != nil {
				t.Fatal(err)
			}
			samples = append(samples, sample{r.Metric, fmt.Sprint(v[0]), int64(f)})
		}
	}
	return samples
}
