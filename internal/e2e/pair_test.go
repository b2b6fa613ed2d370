package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Each of a pair scrapes the target this many times in its interval: so often this
// far apart from the other, and so often however far it happens to be.
const (
	pairApart     = 50 * time.Millisecond
	pairsApart    = 10
	pairsAnywhere = 10
)

// replica is one of a pair of Prometheus servers that scrape the same.
type replica struct {
	name, address, dataDir, config string
	*process
}

func newReplica(t *testing.T, name, target, write string, phases []string) *replica {
	t.Helper()
	r := &replica{name: name, address: freeAddress(t), dataDir: t.TempDir()}
	r.config = writeFile(t, name+".yml", replicaConfig(name, target, write, phases))
	r.start(t)
	return r
}

func replicaConfig(name, target, write string, phases []string) string {
	var targets []string
	for _, phase := range phases {
		targets = append(targets, fmt.Sprintf("{targets: [%q], labels: {phase: %q}}", target, phase))
	}
	return fmt.Sprintf(`global:
  scrape_interval: 1s
  scrape_timeout: 1s
  scrape_native_histograms: true
  external_labels: {from: %s}
scrape_configs:
  - job_name: demo
    static_configs: [%s]
remote_write:
  - url: %s
    send_native_histograms: true
    queue_config: {batch_send_deadline: 500ms}
`, name, strings.Join(targets, ", "), write)
}

func (r *replica) start(t *testing.T) {
	t.Helper()
	r.process = start(t, r.name, peer(t, "prometheus"), "--config.file="+r.config,
		"--storage.tsdb.path="+r.dataDir, "--web.listen-address="+r.address)
	r.ready(t, "http://"+r.address+"/-/ready")
}

// Two servers scrape the same targets, the one that is followed is killed for a
// while, and what the pair has together is what the survivor has.
func TestReplicasOfOneTarget(t *testing.T) {
	demo := startDemo(t)
	v := startVarve(t, example(t, "allinone"), freeAddress(t), t.TempDir(), startMinIO(t))
	phases := phasesApart(t, offsetsOf(t, replicaConfig("a", demo, v.writeURL(), nil)),
		offsetsOf(t, replicaConfig("b", demo, v.writeURL(), nil)), demo, pairApart, pairsApart)
	for i := range pairsAnywhere {
		phases = append(phases, fmt.Sprint("any ", i))
	}
	killed := newReplica(t, "a", demo, v.writeURL(), phases)
	survivor := newReplica(t, "b", demo, v.writeURL(), phases)

	from := time.Now().Truncate(time.Second).Add(15 * time.Second)
	time.Sleep(time.Until(from.Add(10 * time.Second)))
	killed.kill()
	away := time.Now()
	time.Sleep(8 * time.Second)
	killed.start(t)
	back := time.Now()
	to := back.Truncate(time.Second).Add(25 * time.Second)
	time.Sleep(time.Until(to))
	for _, r := range []*replica{killed, survivor} {
		caughtUp(t, v, &sender{name: r.name, address: r.address}, to, to)
	}

	distances(t, killed, survivor, to)
	t.Run("no hole and no reset", func(t *testing.T) {
		comparePairSamples(t, v, survivor, from, to)
	})
	for _, query := range []string{
		`rate(demo_requests_total[10s])`,
		`increase(demo_requests_total[10s:1s]) / 10`,
		`histogram_count(rate(demo_native_seconds[10s]))`,
	} {
		t.Run(query, func(t *testing.T) {
			// While the range reaches back to when the first was away, or not
			// yet writing again, only the survivor knows.
			alone := func(at time.Time) bool {
				return at.After(away.Add(-time.Second)) && at.Before(back.Add(15*time.Second))
			}
			comparePairRates(t, v, killed, survivor, query, from, to, alone)
		})
	}
}

// pairRange is queryRange with the pair seen as one.
func pairRange(t *testing.T, v *varve, query string, from, to time.Time) answer {
	t.Helper()
	params := period(from, to)
	params.Set("query", query)
	params.Set("step", "1")
	params["replicaLabels[]"] = []string{"from"}
	e, err := get(v.address, "/api/v1/query_range", params)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return parse(t, e)
}

// comparePairRates checks that each answer about the pair lies between what both
// servers say, or at what the survivor says, give or take a sample at either end
// of the range.
func comparePairRates(t *testing.T, v *varve, killed, survivor *replica, query string, from, to time.Time, alone func(time.Time) bool) {
	t.Helper()
	got := pairRange(t, v, query, from, to)
	first := queryRange(t, killed.address, query, from, to)
	second := queryRange(t, survivor.address, query, from, to)
	// What the target counts in a second and a half, spread over the range.
	sample := queryRange(t, survivor.address, strings.NewReplacer("[10s]", "[2s]", "[10s:1s]", "[2s]", "/ 10", "/ 2").Replace(query), from, to)
	points := 0
	for name, s := range second.Series {
		worth := 0.0
		for _, text := range sample.Series[name].values {
			worth = max(worth, 1.5*parsed(t, text)/10)
		}
		for ts, text := range s.values {
			low := parsed(t, text)
			high := low
			seconds := parsed(t, ts)
			if other, ok := first.Series[name].values[ts]; ok && !alone(time.UnixMilli(int64(seconds*1000))) {
				low, high = min(low, parsed(t, other)), max(high, parsed(t, other))
			}
			text, ok := got.Series[name].values[ts]
			if !ok {
				t.Errorf("%s at %s: no answer, though a server says %g", name, ts, low)
				continue
			}
			if value := parsed(t, text); value < low-worth || value > high+worth {
				t.Errorf("%s at %s: %g is not within %g to %g, give or take %g", name, ts, value, low, high, worth)
			}
			points++
		}
	}
	if len(got.Series) != len(second.Series) || points == 0 {
		t.Errorf("%d series of %d, %d points", len(got.Series), len(second.Series), points)
	}
	t.Logf("%d points", points)
}

// comparePairSamples checks that the pair has no hole longer than two intervals
// where the survivor has none, and that its counters never fall.
func comparePairSamples(t *testing.T, v *varve, survivor *replica, from, to time.Time) {
	t.Helper()
	query := fmt.Sprintf("demo_requests_total[%ds]", int(to.Sub(from).Seconds()))
	got, want := rawSamples(t, v.address, query, to), rawSamples(t, survivor.address, query, to)
	if len(got) == 0 || len(got) != len(want) {
		t.Fatalf("%d series, want %d", len(got), len(want))
	}
	for name, samples := range got {
		for i := 1; i < len(samples); i++ {
			a, b := samples[i-1], samples[i]
			if b.value < a.value {
				t.Errorf("%s falls from %v to %v", name, a, b)
			}
			lacks := slices.IndexFunc(want[name], func(s rawSample) bool { return s.at > a.at+1.1 && s.at < b.at-1.1 })
			if b.at-a.at > 2 && lacks >= 0 {
				t.Errorf("%s has a hole from %v to %v, though the survivor has %v", name, a, b, want[name][lacks])
			}
		}
	}
}

type rawSample struct{ at, value float64 }

// rawSamples asks for a range of a series' samples as they are, of a pair as one.
func rawSamples(t *testing.T, address, query string, at time.Time) map[string][]rawSample {
	t.Helper()
	e, err := get(address, "/api/v1/query", url.Values{
		"query": {query}, "time": {strconv.FormatInt(at.Unix(), 10)}, "replicaLabels[]": {"from"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var data struct {
		Result []struct {
			Metric map[string]string
			Values [][2]json.RawMessage
		}
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	found := map[string][]rawSample{}
	for _, r := range data.Result {
		for _, v := range r.Values {
			found[labelsText(r.Metric)] = append(found[labelsText(r.Metric)],
				rawSample{parsed(t, string(v[0])), parsed(t, strings.Trim(string(v[1]), `"`))})
		}
	}
	return found
}

// distances logs how far apart the two scrape each phase, and fails if that is
// nothing like pairApart for any, so that the test is not of what it says.
func distances(t *testing.T, a, b *replica, at time.Time) {
	t.Helper()
	var found []int
	first, second := rawSamples(t, a.address, "up[3s]", at), rawSamples(t, b.address, "up[3s]", at)
	for name, samples := range first {
		if others := second[name]; len(samples) > 0 && len(others) > 0 {
			apart := math.Mod(samples[0].at-others[0].at+3, 1)
			found = append(found, int(1000*min(apart, 1-apart)))
		}
	}
	slices.Sort(found)
	t.Logf("the servers scrape these ms apart: %v", found)
	if !slices.ContainsFunc(found, func(ms int) bool { return ms >= 20 && ms <= 80 }) {
		t.Errorf("none is about %s apart: Prometheus chooses offsets in another way than offsets has it", pairApart)
	}
}

func parsed(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
