package receive

import (
	"fmt"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
)

const benchSeries = 2000

func benchRequest(scrape int64) *prompb.WriteRequest {
	msg := v1()
	for i := range benchSeries {
		s := headSeries(fmt.Sprint(i), scrape*15_000)
		for l := range 7 {
			s.Labels = append(s.Labels, prompb.Label{Name: fmt.Sprintf("label_%d", l), Value: fmt.Sprintf("value-%d-%d", l, i%(1+l*31))})
		}
		msg.Timeseries = append(msg.Timeseries, s)
	}
	return msg
}

// BenchmarkHandler writes the same series again and again, a sample each time,
// and shows the cost beside the floor: the head's own append by reference.
func BenchmarkHandler(b *testing.B) {
	scrapes := int64(0)
	bench := func(name string, write func(b *testing.B, to *Tenants, n int)) {
		b.Run(name, func(b *testing.B) {
			tenants, err := OpenTenants(b.TempDir(), TenantsOptions{})
			if err != nil {
				b.Fatal(err)
			}
			defer tenants.Close()
			write(b, tenants, 1)
			b.ReportAllocs()
			b.ResetTimer()
			write(b, tenants, b.N)
			b.ReportMetric(float64(b.N)*benchSeries/b.Elapsed().Seconds(), "samples/s")
		})
	}
	for _, version := range []string{"1.0", "2.0"} {
		bench("version="+version, func(b *testing.B, to *Tenants, n int) {
			h := newTestHandler(b, to, HandlerOptions{})
			for range n {
				b.StopTimer()
				scrapes++
				msg := benchRequest(scrapes)
				req := rwRequest{message: msg}
				if version == "2.0" {
					req.message, req.typ = v2Of(msg), typeV2
				}
				req.body, _ = req.message.Marshal()
				req.raw = snappy.Encode(nil, req.body)
				b.StartTimer()
				wantAnswer(b, req.deliver(h), 204)
			}
		})
	}
	bench("floor", func(b *testing.B, to *Tenants, n int) {
		lss := make([]labels.Labels, benchSeries)
		refs := make([]storage.SeriesRef, benchSeries)
		builder := labels.NewScratchBuilder(10)
		for i, s := range benchRequest(0).Timeseries {
			lss[i] = s.ToLabels(&builder, nil)
		}
		b.ResetTimer()
		for range n {
			scrapes++
			app, err := to.Appender(b.Context(), DefaultTenant)
			if err != nil {
				b.Fatal(err)
			}
			for i := range lss {
				if refs[i], err = app.Append(refs[i], lss[i], 0, base+scrapes*15_000, float64(scrapes), nil, nil, storage.AOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			if err := app.Commit(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
