package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
)

// startAllinone starts allinone with all its data in a folder.
func startAllinone(t *testing.T) *varve {
	t.Helper()
	v := &varve{address: freeAddress(t)}
	v.process = start(t, "allinone", example(t, "allinone"), "--http-address="+v.address, "--grpc-address="+freeAddress(t), "--data-dir="+t.TempDir(), "--log.level=debug")
	v.ready(t, "http://"+v.address+"/-/ready")
	return v
}

// sdkMeter is the OpenTelemetry SDK of a program that sends to v.
func sdkMeter(t *testing.T, v *varve, path, service string, opts ...otlpmetrichttp.Option) (metric.Meter, *sdk.MeterProvider) {
	t.Helper()
	opts = append(opts, otlpmetrichttp.WithEndpoint(v.address), otlpmetrichttp.WithURLPath(path), otlpmetrichttp.WithInsecure(),
		otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
	exporter, err := otlpmetrichttp.New(context.Background(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	provider := sdk.NewMeterProvider(
		sdk.WithReader(sdk.NewPeriodicReader(exporter, sdk.WithInterval(time.Hour))), // Only when told to.
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", service), attribute.String("host.name", "e2e"))),
		sdk.WithView(sdk.NewView(sdk.Instrument{Name: "sdk.size"}, sdk.Stream{Aggregation: sdk.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}})),
	)
	return provider.Meter("lib"), provider
}

// instant asks for a value now and returns each series of the answer as text.
func instant(t *testing.T, v *varve, query string) (lines []string) {
	t.Helper()
	type result struct {
		Result []struct {
			Metric    map[string]string
			Value     []json.RawMessage
			Histogram []json.RawMessage
		}
	}
	for _, r := range ask[result](t, v.address, "/api/v1/query", url.Values{"query": {query}}).Result {
		val := ""
		if len(r.Value) == 2 {
			val = strings.Trim(string(r.Value[1]), `"`)
		}
		if len(r.Histogram) == 2 {
			val = string(r.Histogram[1])
		}
		lines = append(lines, labelsText(r.Metric)+" "+val)
	}
	slices.Sort(lines)
	return lines
}

// A program with the OpenTelemetry SDK finds again what it counted.
func TestOTLPFromTheSDK(t *testing.T) {
	v := startAllinone(t)
	for path, service := range map[string]string{"/api/v1/otlp/v1/metrics": "one", "/api/v1/otlp": "two"} {
		meter, provider := sdkMeter(t, v, path, service)
		recordSDK(t, meter)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if err := provider.ForceFlush(ctx); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		time.Sleep(2 * time.Millisecond) // A series has one value a millisecond.
		recordSDK(t, meter)
		if err := provider.Shutdown(ctx); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		cancel()
		for query, want := range map[string][]string{
			`sdk_hits_bytes_total{job="%s"}`:              {`{__name__="sdk_hits_bytes_total", code="200", job="%s"} 6`, `{__name__="sdk_hits_bytes_total", code="404", job="%s"} 2`},
			`sdk_open{job="%s"}`:                          {`{__name__="sdk_open", job="%s"} -2`},
			`sdk_temp_celsius{job="%s"}`:                  {`{__name__="sdk_temp_celsius", job="%s"} 21.5`},
			`sdk_latency_seconds_count{job="%s"}`:         {`{__name__="sdk_latency_seconds_count", job="%s"} 4`},
			`sdk_latency_seconds_sum{job="%s"}`:           {`{__name__="sdk_latency_seconds_sum", job="%s"} 7`},
			`sdk_latency_seconds_bucket{job="%s",le="1"}`: {`{__name__="sdk_latency_seconds_bucket", job="%s", le="1"} 2`},
			`histogram_count(sdk_size{job="%s"})`:         {`{job="%s"} 6`},
			`histogram_sum(sdk_size{job="%s"})`:           {`{job="%s"} 222`},
			`target_info{job="%s"}`:                       {`{__name__="target_info", host_name="e2e", job="%s"} 1`},
			// Half of the observations are of 10 or less, to the width of a bucket.
			`round(histogram_quantile(0.5, sdk_size{job="%s"}))`: {`{job="%s"} 10`},
		} {
			for i := range want {
				want[i] = fmt.Sprintf(want[i], service)
			}
			if got := instant(t, v, fmt.Sprintf(query, service)); !slices.Equal(got, want) {
				t.Errorf("%s: %s: %q, want %q", path, query, got, want)
			}
		}
	}
	compareSDKExtras(t, v)
}

// recordSDK records on an instrument of each kind.
func recordSDK(t *testing.T, meter metric.Meter) {
	t.Helper()
	// Exemplars are kept of what happens within a sampled trace.
	ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0xab}, SpanID: trace.SpanID{0xcd}, TraceFlags: trace.FlagsSampled,
	}))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	hits, err := meter.Int64Counter("sdk.hits", metric.WithUnit("By"), metric.WithDescription("Bytes that hit."))
	must(err)
	hits.Add(ctx, 3, metric.WithAttributes(attribute.Int("code", 200)))
	hits.Add(ctx, 1, metric.WithAttributes(attribute.Int("code", 404)))
	open, err := meter.Int64UpDownCounter("sdk.open")
	must(err)
	open.Add(ctx, 1)
	open.Add(ctx, -2)
	temp, err := meter.Float64Gauge("sdk.temp", metric.WithUnit("Cel"))
	must(err)
	temp.Record(ctx, 21.5)
	latency, err := meter.Float64Histogram("sdk.latency", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(1, 2))
	must(err)
	latency.Record(ctx, 0.5)
	latency.Record(ctx, 3)
	size, err := meter.Float64Histogram("sdk.size")
	must(err)
	for _, v := range []float64{1, 10, 100} {
		size.Record(ctx, v)
	}
}

func compareSDKExtras(t *testing.T, v *varve) {
	t.Helper()
	type exemplars []struct {
		SeriesLabels map[string]string
		Exemplars    []struct{ Labels map[string]string }
	}
	params := period(time.Now().Add(-time.Minute), time.Now().Add(time.Minute))
	for _, query := range []string{`sdk_hits_bytes_total{job="one"}`, `sdk_latency_seconds_bucket{job="one"}`, `sdk_size{job="one"}`} {
		params.Set("query", query)
		found := ask[exemplars](t, v.address, "/api/v1/query_exemplars", params)
		if len(found) == 0 || len(found[0].Exemplars) == 0 || !strings.HasPrefix(found[0].Exemplars[0].Labels["trace_id"], "ab00") ||
			!strings.HasPrefix(found[0].Exemplars[0].Labels["span_id"], "cd00") {
			t.Errorf("exemplars of %s: %+v", query, found)
		}
	}
	type metadata map[string][]struct{ Type, Help, Unit string }
	for metric, want := range map[string]string{
		"sdk_hits_bytes_total": "{counter Bytes that hit. bytes}", "sdk_latency_seconds": "{histogram  seconds}", "sdk_size": "{histogram  }",
	} {
		got := askGet[metadata](t, v.address, "/api/v1/metadata", url.Values{"metric": {metric}})
		if len(got[metric]) != 1 || fmt.Sprint(got[metric][0]) != want {
			t.Errorf("metadata of %s: %v, want %s", metric, got, want)
		}
	}
}

// A program that sends delta temporality is told so, and what is not of that
// kind is stored.
func TestOTLPDeltaFromTheSDK(t *testing.T) {
	v := startAllinone(t)
	var told []string
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { told = append(told, err.Error()) }))
	meter, provider := sdkMeter(t, v, "/api/v1/otlp/v1/metrics", "delta", otlpmetrichttp.WithTemporalitySelector(
		func(sdk.InstrumentKind) metricdata.Temporality { return metricdata.DeltaTemporality }))
	recordSDK(t, meter)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := provider.Shutdown(ctx); err != nil {
		told = append(told, err.Error())
	}
	if all := strings.Join(told, "\n"); !strings.Contains(all, "unsupported_temporality") {
		t.Errorf("the SDK was told %q", all)
	}
	if got := instant(t, v, `{job="delta", __name__=~"sdk_.*"}`); len(got) != 1 || !strings.Contains(got[0], "sdk_temp_celsius") {
		t.Errorf("stored %q, want the gauge", got)
	}
}
