package e2e

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/varve-tsdb/varve/receive"
	"github.com/varve-tsdb/varve/receive/otlp"
)

// otlpStorage keeps all that is committed as text. It stands behind Prometheus'
// handler and behind ours.
type otlpStorage struct{ lines []string }

func (s *otlpStorage) AppenderV2(context.Context) storage.AppenderV2 { return &otlpAppender{to: s} }

func (s *otlpStorage) Appender(context.Context, string) (storage.AppenderV2, error) {
	return &otlpAppender{to: s}, nil
}

// sorted returns what is stored, each once: the same value twice is one.
func (s *otlpStorage) sorted() []string {
	slices.Sort(s.lines)
	return slices.Compact(s.lines)
}

type otlpAppender struct {
	to   *otlpStorage
	held []string
}

func (a *otlpAppender) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, _ *histogram.FloatHistogram, opts storage.AppendV2Options) (storage.SeriesRef, error) {
	val := fmt.Sprintf("%x", v)
	if h != nil {
		if err := h.Validate(); err != nil { // As the head does.
			return 0, err
		}
		val = fmt.Sprintf("%+v", *h)
	}
	for _, e := range opts.Exemplars {
		val += fmt.Sprintf(" # %s %v @%d", e.Labels, e.Value, e.Ts)
	}
	if opts.Metadata.Type == model.MetricTypeUnknown {
		// Remote write 2.0, through which ours goes, cannot tell the family
		// where there is no type, nor a type that is unknown from none.
		opts.MetricFamilyName, opts.Metadata.Type = "", ""
	}
	if opts.Metadata.IsEmpty() {
		opts.MetricFamilyName = ""
	}
	a.held = append(a.held, fmt.Sprintf("%s %d @%d %s %s %+v", ls, st, t, val, opts.MetricFamilyName, opts.Metadata))
	return 1, nil
}

func (a *otlpAppender) Commit() error {
	a.to.lines = append(a.to.lines, a.held...)
	return nil
}

func (a *otlpAppender) Rollback() error { return nil }

// otlpPair is Prometheus' handler and ours with the same settings.
type otlpPair struct {
	prometheus, varve http.Handler
	theirs, ours      otlpStorage
}

func newOTLPPair(t *testing.T, cfg config.OTLPConfig, native bool) *otlpPair {
	t.Helper()
	p := &otlpPair{}
	p.prometheus = remote.NewOTLPWriteHandler(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), &p.theirs,
		func() config.Config { return config.Config{OTLPConfig: cfg} }, remote.OTLPOptions{NativeDelta: native})
	opts := otlp.Options{
		TranslationStrategy:       cfg.TranslationStrategy,
		PromoteResourceAttributes: cfg.PromoteResourceAttributes, PromoteAllResourceAttributes: cfg.PromoteAllResourceAttributes,
		IgnoreResourceAttributes:          cfg.IgnoreResourceAttributes,
		KeepIdentifyingResourceAttributes: cfg.KeepIdentifyingResourceAttributes,
		ConvertHistogramsToNHCB:           cfg.ConvertHistogramsToNHCB, PromoteScopeMetadata: cfg.PromoteScopeMetadata,
		KeepLeadingUnderscore: !cfg.LabelNameUnderscoreSanitization, CollapseUnderscores: !cfg.LabelNamePreserveMultipleUnderscores,
	}
	if native {
		opts.Delta = otlp.DeltaNative
	}
	write, err := receive.NewHandler(&p.ours, receive.HandlerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if p.varve, err = otlp.NewHandler(write, opts); err != nil {
		t.Fatal(err)
	}
	return p
}

// send sends a request to both and returns their statuses.
func (p *otlpPair) send(t *testing.T, md pmetric.Metrics, json bool) (theirs, ours int) {
	t.Helper()
	typ, req := "application/x-protobuf", pmetricotlp.NewExportRequestFromMetrics(md)
	marshal := req.MarshalProto
	if json {
		typ, marshal = "application/json", req.MarshalJSON
	}
	body, err := marshal()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(h http.Handler) int {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", typ)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Logf("answer %d: %s", w.Code, w.Body)
		}
		return w.Code
	}
	return ask(p.prometheus), ask(p.varve)
}

// compare fails the test if the two have stored different things.
func (p *otlpPair) compare(t *testing.T) {
	t.Helper()
	theirs, ours := p.theirs.sorted(), p.ours.sorted()
	var out []string
	for _, l := range theirs {
		if _, ok := slices.BinarySearch(ours, l); !ok {
			out = append(out, "- "+l)
		}
	}
	for _, l := range ours {
		if _, ok := slices.BinarySearch(theirs, l); !ok {
			out = append(out, "+ "+l)
		}
	}
	if len(out) > 0 {
		t.Errorf("Prometheus stores %d samples, Varve %d:\n%s", len(theirs), len(ours), strings.Join(out[:min(len(out), 20)], "\n"))
	}
}

// otlpConfigs are the settings of the section otlp that differ in what they do.
func otlpConfigs() map[string]config.OTLPConfig {
	with := func(set func(*config.OTLPConfig)) config.OTLPConfig {
		cfg := config.DefaultOTLPConfig
		set(&cfg)
		return cfg
	}
	return map[string]config.OTLPConfig{
		"default":     config.DefaultOTLPConfig,
		"no suffixes": with(func(c *config.OTLPConfig) { c.TranslationStrategy = otlptranslator.UnderscoreEscapingWithoutSuffixes }),
		"utf8":        with(func(c *config.OTLPConfig) { c.TranslationStrategy = otlptranslator.NoUTF8EscapingWithSuffixes }),
		"untouched":   with(func(c *config.OTLPConfig) { c.TranslationStrategy = otlptranslator.NoTranslation }),
		"promote": with(func(c *config.OTLPConfig) {
			c.PromoteResourceAttributes = []string{"host.name", "r.b"}
		}),
		"promote all": with(func(c *config.OTLPConfig) {
			c.PromoteAllResourceAttributes, c.IgnoreResourceAttributes = true, []string{"host.name"}
		}),
		"identifying": with(func(c *config.OTLPConfig) { c.KeepIdentifyingResourceAttributes = true }),
		"nhcb":        with(func(c *config.OTLPConfig) { c.ConvertHistogramsToNHCB = true }),
		"scope":       with(func(c *config.OTLPConfig) { c.PromoteScopeMetadata = true }),
		"names": with(func(c *config.OTLPConfig) {
			c.LabelNameUnderscoreSanitization, c.LabelNamePreserveMultipleUnderscores = false, false
		}),
	}
}

// Whatever a sender may rightly send, with every setting: both store the same
// samples with the same start, exemplars and metadata.
func TestOTLPAsPrometheus(t *testing.T) {
	for name, cfg := range otlpConfigs() {
		for _, native := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, native delta %v", name, native), func(t *testing.T) {
				p := newOTLPPair(t, cfg, native)
				for seed := range uint64(20) {
					g := &otlpGenerator{rnd: rand.New(rand.NewPCG(seed, 1)), delta: native, at: time.Now().Add(-time.Hour)}
					theirs, ours := p.send(t, g.request(), seed%2 == 0)
					if theirs != http.StatusOK || ours != http.StatusOK {
						t.Fatalf("seed %d: Prometheus answers %d, Varve %d", seed, theirs, ours)
					}
				}
				p.compare(t)
				if len(p.ours.lines) < 100 {
					t.Errorf("only %d samples were compared", len(p.ours.lines))
				}
			})
		}
	}
}

// The listed differences: what Prometheus answers an error for, storing
// nothing, costs the point here, and the rest is what Prometheus stores of a
// request without it.
func TestOTLPDifferences(t *testing.T) {
	point := func(md pmetric.Metrics, set func(pmetric.Metric)) {
		set(md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty())
	}
	number := func(m pmetric.Metric, name string) pmetric.NumberDataPoint {
		m.SetName(name)
		p := m.SetEmptyGauge().DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		return p
	}
	for _, tc := range []struct {
		name   string
		theirs int
		bad    func(pmetric.Metric)
	}{
		{"delta", 500, func(m pmetric.Metric) {
			m.SetName("bad")
			m.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
			m.Sum().DataPoints().AppendEmpty().SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		}},
		{"no name", 500, func(m pmetric.Metric) { number(m, "") }},
		{"no data", 500, func(m pmetric.Metric) { m.SetName("bad") }},
		{"attribute without a name", 500, func(m pmetric.Metric) { number(m, "bad").Attributes().PutStr("", "v") }},
		{"scale", 500, func(m pmetric.Metric) {
			m.SetName("bad")
			m.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
			p := m.ExponentialHistogram().DataPoints().AppendEmpty()
			p.SetScale(-5)
			p.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		}},
		{"an hour ahead", 400, func(m pmetric.Metric) {
			number(m, "bad").SetTimestamp(pcommon.NewTimestampFromTime(time.Now().Add(time.Hour)))
		}},
		{"not UTF-8", 200, func(m pmetric.Metric) { number(m, "bad").Attributes().PutStr("a", "\xff") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			request := func() pmetric.Metrics {
				g := &otlpGenerator{rnd: rand.New(rand.NewPCG(7, 7)), at: time.Now().Truncate(time.Hour).Add(-time.Hour)}
				return g.request()
			}
			good, p := request(), newOTLPPair(t, config.DefaultOTLPConfig, false)
			bad := request()
			point(bad, tc.bad)
			theirs, ours := p.send(t, bad, false)
			if theirs != tc.theirs || ours != http.StatusOK {
				t.Errorf("Prometheus answers %d, want %d; Varve %d, want 200", theirs, tc.theirs, ours)
			}
			p.theirs.lines = nil
			if theirs, _ := p.send(t, good, false); theirs != http.StatusOK {
				t.Fatalf("Prometheus answers %d for the request without it", theirs)
			}
			p.compare(t)
		})
	}
}
