package e2e

import (
	"fmt"
	"math"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore/filesystem"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/store"
)

// downsampledQueries are asked of Thanos and of Varve over the same bucket, at the
// given values of max_source_resolution.
var downsampledQueries = []struct{ query, resolutions string }{
	{`gauge`, "0s 5m 1h"},
	{`sum(gauge)`, "0s 5m 1h"},
	{`min(gauge)`, "0s 5m 1h"},
	{`max by (n) (gauge)`, "0s 5m 1h"},
	{`count(gauge)`, "0s 5m 1h"},
	{`avg_over_time(gauge[6h])`, "0s 5m 1h"},
	{`min_over_time(gauge[6h])`, "0s 5m 1h"},
	{`max_over_time(gauge[6h])`, "0s 5m 1h"},
	{`sum_over_time(gauge[6h])`, "0s 5m 1h"},
	{`count_over_time(gauge[6h])`, "0s 5m 1h"},
	{`last_over_time(gauge[6h])`, "0s 5m 1h"},
	{`quantile_over_time(0.9, gauge[6h])`, "0s 5m 1h"},
	{`delta(gauge[12h])`, "0s 5m 1h"},
	{`deriv(gauge[12h])`, "0s 5m 1h"},
	{`counter`, "0s 5m 1h"},
	// Over raw data Thanos takes the resets out before the engine sees them, which
	// then extrapolates further back than it would; Prometheus and Varve do not.
	{`rate(counter[6h])`, "5m 1h"},
	{`increase(counter[6h])`, "5m 1h"},
	{`increase(counter[30m])`, "5m 1h"},
	{`irate(counter[6h])`, "0s 5m 1h"},
	{`sum(rate(counter[3h])) / 3`, "5m 1h"},
	{`max_over_time(rate(counter[3h])[12h:1h])`, "5m 1h"},
	// Averages of histograms come out of Thanos with their buckets divided again
	// and again.
	{`native`, "0s"},
	{`histogram_count(native)`, "0s 5m 1h"},
	{`histogram_avg(native)`, "0s 5m 1h"},
	{`rate(native[6h])`, "0s 5m 1h"},
	{`histogram_quantile(0.9, sum(rate(native[6h])))`, "0s 5m 1h"},
	{`sum_over_time(native[6h])`, "0s 5m 1h"},
	{`count_over_time(native[6h])`, "0s 5m 1h"},
}

// TestDownsampled has Thanos downsample blocks and asks about what it made, 1h of
// which ends before 5m and raw data do: Thanos Query over Thanos Store, Varve, and
// Thanos Query over our store.
func TestDownsampled(t *testing.T) {
	thanos := peer(t, "thanos")
	dir := t.TempDir()
	bkt, err := filesystem.NewBucket(dir)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	const day = int64(24 * time.Hour / time.Millisecond)
	middle, end := begin+16*day, begin+18*day
	blocktest.Put(t, bkt, blocktest.Block{
		MinTime: begin, MaxTime: middle, External: labels.FromStrings("varve_replica", "a"), Level: 4, Source: "compactor", Series: downsampledSeries(begin, middle),
	})
	blocktest.Put(t, bkt, blocktest.Block{
		MinTime: middle, MaxTime: end, External: labels.FromStrings("varve_replica", "a"), Level: 3, Source: "compactor", Series: downsampledSeries(middle, end),
	})
	config := writeFile(t, "bucket.yaml", fmt.Sprintf("type: FILESYSTEM\nconfig:\n  directory: %s\n", dir))
	downsampler := start(t, "downsample", thanos, "tools", "bucket", "downsample", "--objstore.config-file="+config,
		"--data-dir="+t.TempDir(), "--http-address="+freeAddress(t), "--wait-interval=1s")
	eventually(t, 2*time.Minute, func() error {
		metas, err := filepath.Glob(filepath.Join(dir, "*", "meta.json"))
		found := map[string]int{}
		for _, name := range metas {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			for _, resolution := range []string{"300000", "3600000"} {
				if strings.Contains(string(text), `"resolution": `+resolution+"\n") {
					found[resolution]++
				}
			}
		}
		// The second raw block is long enough for 5m only.
		if err != nil || found["300000"] < 2 || found["3600000"] < 1 {
			return fmt.Errorf("downsampled blocks: %v, %v", found, err)
		}
		return nil
	})
	downsampler.kill()

	grpc, theirs := freeAddress(t), freeAddress(t)
	ready := freeAddress(t)
	start(t, "store", thanos, "store", "--objstore.config-file="+config, "--data-dir="+t.TempDir(), "--grpc-address="+grpc, "--http-address="+ready).
		ready(t, "http://"+ready+"/-/ready")
	start(t, "query", thanos, "query", "--endpoint="+grpc, "--http-address="+theirs, "--grpc-address="+freeAddress(t)).
		ready(t, "http://"+theirs+"/-/ready")

	hist, err := store.Open(bkt, t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer hist.Close()
	if err := hist.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	engine, err := query.NewEngine(query.EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := query.NewHandler(engine, hist, query.HandlerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	ourGRPC, ourHTTP := freeAddress(t), freeAddress(t)
	start(t, "our-store", example(t, "store"), "--objstore.config-file="+config, "--data-dir="+t.TempDir(), "--grpc-address="+ourGRPC, "--http-address="+ourHTTP).
		ready(t, "http://"+ourHTTP+"/-/ready")
	ours := map[string]string{
		"Varve":                       strings.TrimPrefix(server.URL, "http://"),
		"Thanos Query over our store": startThanosQuery(t, nil, ourGRPC),
	}

	params := func(q, resolution string) url.Values {
		return url.Values{
			"query": {q}, "dedup": {"false"}, "partial_response": {"false"}, "max_source_resolution": {resolution}, "step": {"1741"},
			"start": {strconv.FormatInt(begin/1000, 10)}, "end": {strconv.FormatInt(end/1000, 10)},
		}
	}
	for _, address := range []string{theirs, ours["Thanos Query over our store"]} {
		eventually(t, time.Minute, func() error {
			e, err := get(address, "/api/v1/query_range", params("gauge", "0s"))
			if err == nil && parse(t, e).points() == 0 {
				err = fmt.Errorf("Thanos has no samples yet")
			}
			return err
		})
	}
	points := 0
	for _, c := range downsampledQueries {
		for resolution := range strings.FieldsSeq(c.resolutions) {
			e, err := get(theirs, "/api/v1/query_range", params(c.query, resolution))
			if err != nil {
				t.Errorf("Thanos: %s at %s: %v", c.query, resolution, err)
				continue
			}
			want := parse(t, e)
			if want.points() == 0 {
				t.Errorf("%s at %s: nothing to compare", c.query, resolution)
			}
			for name, address := range ours {
				e, err := get(address, "/api/v1/query_range", params(c.query, resolution))
				if err != nil {
					t.Errorf("%s: %s at %s: %v", name, c.query, resolution, err)
					continue
				}
				got := parse(t, e)
				if d := diff(want, got); d != "" {
					t.Errorf("%s: %s at %s, %d points:\n%s", name, c.query, resolution, want.points(), d)
				}
				points += got.points()
			}
		}
	}
	t.Logf("%d points compared", points)
}

func downsampledSeries(from, to int64) []blocktest.Series {
	const interval = int64(time.Minute / time.Millisecond)
	var all []blocktest.Series
	for n := range int64(3) {
		name := strconv.FormatInt(n, 10)
		// The phase is not that of the windows.
		first := from + 7123*(n+1)
		all = append(all,
			blocktest.Series{Labels: labels.FromStrings("__name__", "gauge", "n", name), Samples: blocktest.Samples(first, to, interval, func(t, _ int64) blocktest.Sample {
				return blocktest.Float(t, math.Round(1000*math.Sin(float64(t/interval)/97)*float64(n+1))/8)
			})},
			blocktest.Series{Labels: labels.FromStrings("__name__", "counter", "n", name), Samples: blocktest.Samples(first, to, interval, func(t, _ int64) blocktest.Sample {
				// It is reset at odd times, twice within an hour now and then.
				at := t / interval
				return blocktest.Float(t, float64(at%1777*(n+1)+at%13))
			})},
			blocktest.Series{Labels: labels.FromStrings("__name__", "native", "n", name), Samples: blocktest.Samples(first, to, interval, func(t, _ int64) blocktest.Sample {
				return blocktest.Histogram(t, t/interval%2503)
			})})
	}
	return all
}
