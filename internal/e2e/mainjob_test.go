package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// queries are asked of each sender as they are, and of Varve with a matcher
// on the sender's name in the place of %s.
var queries = []string{
	`up{%s}`,
	`demo_requests_total{%s}`,
	`demo_queue_length{%s}`,
	`rate(demo_requests_total{%s}[10s])`,
	`sum by (code) (increase(demo_requests_total{%s}[15s]))`,
	`sum without (code) (irate(demo_requests_total{%s}[10s])) / 2`,
	`histogram_quantile(0.9, sum by (le) (rate(demo_classic_seconds_bucket{%s}[10s])))`,
	`demo_native_seconds{%s}`,
	`rate(demo_native_seconds{%s}[10s])`,
	`histogram_quantile(0.5, rate(demo_native_seconds{%s}[10s]))`,
	`demo_summary_seconds{%s}`,
	`max_over_time(demo_queue_length{%s}[20s])`,
	`quantile_over_time(0.7, demo_queue_length{%s}[20s])`,
	`count by (job) ({__name__=~".+", %s})`,
	`topk(3, prometheus_http_requests_total{%s})`,
	`{__name__=~"go_.*", job="prometheus", %s}`,
	`absent(demo_nothing{%s})`,
	`changes(demo_queue_length{%s}[20s] offset 5s)`,
	`label_replace(up{%s}, "host", "$1", "instance", "(.*):.*")`,
	`process_start_time_seconds{%s} @ end()`,
}

// modernQueries mean something else to a Prometheus before 3.0, whose ranges
// included their start: a subquery has a step there more often than not.
var modernQueries = []string{
	`max_over_time(rate(demo_requests_total{%s}[5s])[15s:5s])`,
	`count_over_time(demo_queue_length{%s}[20s:4s])`,
}

func TestMainJob(t *testing.T) {
	store := startMinIO(t)
	demo := startDemo(t)
	allinone := example(t, "allinone")
	v := startVarve(t, allinone, freeAddress(t), t.TempDir(), store)

	modern := peer(t, "prometheus")
	senders := []*sender{
		startSender(t, "one", modern, "prometheus.WriteRequest", demo, v.writeURL()),
		startSender(t, "another", modern, "prometheus.WriteRequest", demo, v.writeURL()),
		startSender(t, "second", modern, "io.prometheus.write.v2.Request", demo, v.writeURL()),
		startSender(t, "debian", debianPrometheus(t), "", demo, v.writeURL()),
	}

	// The windows of the queries must not reach back to before the senders'
	// queues were running.
	from := time.Now().Truncate(time.Second).Add(25 * time.Second)
	to := from.Add(40 * time.Second)
	time.Sleep(time.Until(to))

	t.Run("head and bucket answer as the senders do", func(t *testing.T) {
		for _, s := range senders {
			caughtUp(t, v, s, from, to)
			compareAnswers(t, v, s, from, to)
		}
	})

	t.Run("exemplars and metadata come through", func(t *testing.T) {
		for _, s := range senders {
			compareExemplars(t, v, s, from, to)
		}
		compareMetadata(t, v, senders[0])
	})

	eventually(t, 4*blockDuration, func() error {
		if reach := coverage(t, store); reach.Before(to) {
			return fmt.Errorf("blocks in the bucket reach to %v, want %v", reach, to)
		}
		return nil
	})

	v.kill()
	dataDir := t.TempDir()
	v = startVarve(t, allinone, v.address, dataDir, store)
	t.Run("the bucket alone answers as the senders do", func(t *testing.T) {
		for _, s := range senders {
			caughtUp(t, v, s, from, to)
			compareAnswers(t, v, s, from, to)
		}
	})

	// What was not shipped before the kill is gone, and so is not asked for.
	since := time.Now().Truncate(time.Second).Add(2 * time.Second)
	t.Run("senders go on after the restart", func(t *testing.T) {
		until := since.Add(5 * time.Second)
		time.Sleep(time.Until(until))
		for _, s := range senders {
			caughtUp(t, v, s, since, until)
		}
	})

	last := time.Now().Truncate(time.Second).Add(-2 * time.Second)
	t.Run("an orderly end ships everything", func(t *testing.T) {
		for _, s := range senders {
			caughtUp(t, v, s, last, last)
		}
		if err := v.terminate(t, time.Minute); err != nil {
			t.Fatalf("allinone ended with %v after SIGTERM", err)
		}
		if reach := coverage(t, store); reach.Before(last) {
			t.Fatalf("blocks in the bucket reach to %v, want %v", reach, last)
		}
	})

	// Meanwhile the senders' queues fill, each at its own pace.
	time.Sleep(3 * time.Second)
	v = startVarve(t, allinone, v.address, dataDir, store)
	t.Run("nothing is missing from before, during and after an orderly restart", func(t *testing.T) {
		until := time.Now().Truncate(time.Second).Add(5 * time.Second)
		time.Sleep(time.Until(until))
		for _, s := range senders {
			caughtUp(t, v, s, since, until)
			want := queryRange(t, s.address, `{__name__=~"demo_.*"}`, since, until)
			got := queryRange(t, v.address, fmt.Sprintf(`{__name__=~"demo_.*", from=%q}`, s.name), since, until)
			if d := diff(want, got); d != "" {
				t.Errorf("%s:\n%s", s.name, d)
			}
		}
	})
}

// caughtUp waits until everything the sender has in the range has reached
// Varve: its queue runs behind.
func caughtUp(t *testing.T, v *varve, s *sender, from, to time.Time) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		want := queryRange(t, s.address, `timestamp(up)`, from, to)
		got := queryRange(t, v.address, fmt.Sprintf(`timestamp(up{from=%q})`, s.name), from, to)
		if d := diff(want, got); d != "" {
			return fmt.Errorf("%s:\n%s", s.name, d)
		}
		if want.points() == 0 {
			return fmt.Errorf("%s has no samples from %v to %v", s.name, from, to)
		}
		return nil
	})
}

func compareAnswers(t *testing.T, v *varve, s *sender, from, to time.Time) {
	t.Helper()
	matcher := fmt.Sprintf("from=%q", s.name)
	points, asked := 0, queries
	if s.modern {
		asked = append(slices.Clone(queries), modernQueries...)
	}
	for _, q := range asked {
		ours := strings.ReplaceAll(q, "%s", matcher)
		theirs := strings.ReplaceAll(strings.ReplaceAll(q, ", %s", ""), "%s", "")
		want := queryRange(t, s.address, theirs, from, to)
		got := queryRange(t, v.address, ours, from, to)
		if d := diff(want, got); d != "" {
			t.Errorf("%s: %s:\n%s", s.name, ours, d)
		}
		points += got.points()
	}
	compareSeries(t, v, s, from, to)
	t.Logf("%s: %d queries, %d points compared", s.name, len(asked), points)
}

// period is a range of time as parameters.
func period(from, to time.Time) url.Values {
	return url.Values{
		"start": {strconv.FormatInt(from.Unix(), 10)},
		"end":   {strconv.FormatInt(to.Unix(), 10)},
	}
}

// ask fetches data from an API.
func ask[T any](t *testing.T, address, path string, params url.Values) (data T) {
	t.Helper()
	e, err := get(address, path, params)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	return data
}

// askGet is ask for those parts of the API that take no POST.
func askGet[T any](t *testing.T, address, path string, params url.Values) (data T) {
	t.Helper()
	res, err := http.Get("http://" + address + path + "?" + params.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body := struct{ Data *T }{&data}
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s%s: %s, %v", address, path, res.Status, err)
	}
	return data
}

func compareSeries(t *testing.T, v *varve, s *sender, from, to time.Time) {
	t.Helper()
	list := func(address, match string) (found []string) {
		params := period(from, to)
		params.Set("match[]", match)
		for _, m := range ask[[]map[string]string](t, address, "/api/v1/series", params) {
			found = append(found, labelsText(m))
		}
		slices.Sort(found)
		return found
	}
	want := list(s.address, `{job="demo"}`)
	got := list(v.address, fmt.Sprintf(`{job="demo", from=%q}`, s.name))
	if len(want) == 0 || !slices.Equal(want, got) {
		t.Errorf("%s: series are\n%v, want\n%v", s.name, got, want)
	}
}

// compareExemplars asks for those of the one metric that has some.
func compareExemplars(t *testing.T, v *varve, s *sender, from, to time.Time) {
	t.Helper()
	type exemplars []struct {
		SeriesLabels map[string]string
		Exemplars    []json.RawMessage
	}
	list := func(address, query string) map[string]int {
		params := period(from, to)
		params.Set("query", query)
		count := map[string]int{}
		for _, series := range ask[exemplars](t, address, "/api/v1/query_exemplars", params) {
			count[labelsText(series.SeriesLabels)] += len(series.Exemplars)
		}
		return count
	}
	want := list(s.address, `demo_requests_total`)
	got := list(v.address, fmt.Sprintf(`demo_requests_total{from=%q}`, s.name))
	if len(want) == 0 {
		t.Fatalf("%s has no exemplars", s.name)
	}
	if !maps.Equal(want, got) {
		t.Errorf("%s: exemplars %v, want %v", s.name, got, want)
	}
}

func compareMetadata(t *testing.T, v *varve, s *sender) {
	t.Helper()
	type metadata map[string][]struct{ Type, Help, Unit string }
	for _, metric := range []string{"demo_requests_total", "demo_native_seconds", "demo_summary_seconds", "demo_queue_length"} {
		params := url.Values{"metric": {metric}}
		// The 1.0 sender sends metadata once a minute.
		eventually(t, 90*time.Second, func() error {
			want := askGet[metadata](t, s.address, "/api/v1/metadata", params)
			got := askGet[metadata](t, v.address, "/api/v1/metadata", params)
			if len(want) == 0 || fmt.Sprint(want) != fmt.Sprint(got) {
				return fmt.Errorf("metadata of %s is %v, want %v", metric, got, want)
			}
			return nil
		})
	}
}

// coverage returns the end of the last complete block in the bucket.
func coverage(t *testing.T, store *objectStore) time.Time {
	t.Helper()
	var reach int64
	for name, text := range store.metas(t) {
		var meta struct{ MaxTime int64 }
		if err := json.Unmarshal(text, &meta); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		reach = max(reach, meta.MaxTime)
	}
	return time.UnixMilli(reach)
}
