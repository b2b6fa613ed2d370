package receive

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// scraped reads back the kinds and ends of the series that a scraper stored.
func scraped(t *testing.T, tenants *Tenants) map[string]string {
	t.Helper()
	q, err := tenants.ChunkQuerier(0, time.Now().UnixMilli()+1)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	found := map[string]string{}
	set := storage.NewSeriesSetFromChunkSeriesSet(q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")))
	for set.Next() {
		var text []string
		it := set.At().Iterator(nil)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			word := kind.String()
			if _, v := int64(0), 0.0; kind == chunkenc.ValFloat {
				if _, v = it.At(); value.IsStaleNaN(v) {
					word = "stale"
				}
			}
			text = append(text, word)
		}
		found[set.At().Labels().Get("__name__")+set.At().Labels().Get("x")] = strings.Join(text, " ")
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSelfScrape(t *testing.T) {
	reg := prometheus.NewRegistry()
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "c_total", Help: "C."}, []string{"x"})
	native := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "n", Help: "N.", NativeHistogramBucketFactor: 1.1})
	reg.MustRegister(counter, native)
	counter.WithLabelValues("stays").(prometheus.ExemplarAdder).AddWithExemplar(1, prometheus.Labels{"id": "1"})
	counter.WithLabelValues("goes").Inc()
	native.Observe(1)

	tenants, err := OpenTenants(t.TempDir(), TenantsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tenants.Close()
	s, err := NewSelfScraper(reg, tenants, SelfScrapeOptions{Labels: labels.FromStrings("job", "self")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Scrape(t.Context()); err != nil {
		t.Fatal(err)
	}
	counter.DeleteLabelValues("goes")
	time.Sleep(2 * time.Millisecond) // the next scrape is another millisecond
	broken := errors.New("broken collector")
	reg.MustRegister(failing{broken})
	if err := s.Scrape(t.Context()); err == nil || !strings.Contains(err.Error(), broken.Error()) {
		t.Fatalf("a broken collector: %v", err)
	}
	want := map[string]string{"c_totalstays": "float float", "c_totalgoes": "float stale", "n": "histogram histogram", "up": "float float"}
	if got := scraped(t, tenants); len(got) != len(want) {
		t.Errorf("stored %v, want %v", got, want)
	} else {
		for name, kinds := range want {
			if got[name] != kinds {
				t.Errorf("%s has %q, want %q", name, got[name], kinds)
			}
		}
	}
	exemplars, err := tenants.ExemplarQuerier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kept, err := exemplars.Select(0, time.Now().UnixMilli(), []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "c_total")})
	if err != nil || len(kept) != 1 || kept[0].Exemplars[0].Labels.Get("id") != "1" {
		t.Errorf("exemplars %v, %v", kept, err)
	}
	families, err := tenants.MetricMetadata(t.Context(), "n", 0)
	if err != nil || len(families["n"]) != 1 || families["n"][0].Help != "N." {
		t.Errorf("metadata %v, %v", families, err)
	}
}

type failing struct{ err error }

func (f failing) Describe(ch chan<- *prometheus.Desc) { ch <- prometheus.NewDesc("f", "F.", nil, nil) }

func (f failing) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("f", "F.", nil, nil), f.err)
}

func TestSelfScrapeOptions(t *testing.T) {
	_, err := NewSelfScraper(prometheus.NewRegistry(), nil, SelfScrapeOptions{Interval: -1, Tenant: "../x"})
	if err == nil || !strings.Contains(err.Error(), "Interval") || !errors.Is(err, ErrInvalidTenant) {
		t.Fatalf("got %v", err)
	}
}
