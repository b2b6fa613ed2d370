package otlp

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/varve-tsdb/varve/receive"
)

// discard is a storage and an appender that does nothing.
type discard struct{}

func (d discard) Appender(context.Context, string) (storage.AppenderV2, error) { return d, nil }

func (discard) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram, storage.AppendV2Options) (storage.SeriesRef, error) {
	return 1, nil
}
func (discard) Commit() error   { return nil }
func (discard) Rollback() error { return nil }

const benchPoints = 2000

// benchRequest is 2,000 counters of nine labels.
func benchRequest() pmetric.Metrics {
	md, ms := newRequest()
	m := ms.AppendEmpty()
	m.SetName("http.server.requests")
	m.SetEmptySum().SetIsMonotonic(true)
	m.Sum().SetAggregationTemporality(cumulative)
	for i := range benchPoints {
		p := m.Sum().DataPoints().AppendEmpty()
		for _, key := range []string{"method", "route", "status", "zone", "host", "version"} {
			p.Attributes().PutStr("http."+key, key)
		}
		p.Attributes().PutStr("pod", fmt.Sprint("pod-", i))
		p.SetIntValue(int64(i))
	}
	return md
}

// stamp gives all points of a request a time.
func stamp(md pmetric.Metrics, t time.Time) {
	ps := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints()
	for i := range ps.Len() {
		ps.At(i).SetTimestamp(pcommon.NewTimestampFromTime(t))
	}
}

// BenchmarkHandler puts 2,000 points through: "translator" is the floor, what
// decoding and Prometheus' translator take by themselves; "handler" stores
// nothing; "heads" has a TSDB behind it.
func BenchmarkHandler(b *testing.B) {
	heads, err := receive.OpenTenants(b.TempDir(), receive.TenantsOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer heads.Close()
	md := benchRequest()
	perSecond := func(b *testing.B) {
		b.ReportMetric(float64(b.N)*benchPoints/b.Elapsed().Seconds(), "samples/s")
	}
	b.Run("translator", func(b *testing.B) {
		stamp(md, time.Now())
		body := proto(b, md)
		settings := Options{}.withDefaults().settings()
		converter := prometheusremotewrite.NewPrometheusConverter(nil)
		b.ReportAllocs()
		for b.Loop() {
			req := pmetricotlp.NewExportRequest()
			if err := req.UnmarshalProto(body); err != nil {
				b.Fatal(err)
			}
			converter.Reset(discard{})
			if _, err := converter.FromMetrics(context.Background(), req.Metrics(), settings); err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b)
	})
	for name, to := range map[string]receive.Appendable{"handler": discard{}, "heads": heads} {
		b.Run(name, func(b *testing.B) {
			h := newTestHandler(b, to, Options{})
			start := time.Now().Add(-time.Hour)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				stamp(md, start.Add(time.Duration(i)*time.Millisecond))
				body := proto(b, md)
				r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
				r.Header.Set("Content-Type", protoType)
				w := httptest.NewRecorder()
				b.StartTimer()
				h.ServeHTTP(w, r)
				if w.Code != 200 || w.Body.Len() > 0 {
					b.Fatalf("answer %d: %s", w.Code, w.Body)
				}
			}
			perSecond(b)
		})
	}
}
