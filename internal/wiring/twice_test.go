package wiring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/filesystem"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/receive"
	"github.com/varve-tsdb/varve/store"
	"github.com/varve-tsdb/varve/store/storeapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// instance is everything a host can have, wired and running.
type instance struct {
	http.Handler
	reg  *prometheus.Registry // nil in one of the two
	stop func() error
}

// registerer avoids an interface that is not nil around a nil registry.
func (i *instance) registerer() prometheus.Registerer {
	if i.reg == nil {
		return nil
	}
	return i.reg
}

func startInstance(t *testing.T, name string, reg *prometheus.Registry) *instance {
	t.Helper()
	i := &instance{reg: reg}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	plain, err := filesystem.NewBucket(t.TempDir())
	must(err)
	metered, err := objstore.WithMetrics(plain, objstore.MetricsOptions{Registerer: i.registerer()})
	must(err)
	retried, err := objstore.WithRetry(metered, objstore.RetryOptions{Registerer: i.registerer()})
	must(err)
	bkt, err := cache.New(retried, cache.Options{Dir: t.TempDir(), Registerer: i.registerer()})
	must(err)
	heads, err := receive.OpenTenants(t.TempDir(), receive.TenantsOptions{
		Labels: labels.FromStrings("instance_name", name), TSDBMetrics: true, Registerer: i.registerer(),
	})
	must(err)
	hist, err := store.Open(bkt, t.TempDir(), store.Options{Registerer: i.registerer()})
	must(err)
	ship, err := block.NewShipper(bkt, heads, block.ShipperOptions{Registerer: i.registerer()})
	must(err)
	write, err := receive.NewHandler(heads, receive.HandlerOptions{Registerer: i.registerer()})
	must(err)
	var own prometheus.Gatherer = prometheus.NewRegistry()
	if reg != nil {
		own = reg
	}
	self, err := receive.NewSelfScraper(own, heads, receive.SelfScrapeOptions{Labels: labels.FromStrings("job", "self")})
	must(err)
	engine, err := query.NewEngine(query.EngineOptions{Registerer: i.registerer()})
	must(err)
	all := query.NewFanout([]storage.ChunkQueryable{heads, hist}, query.FanoutOptions{})
	remote, hangUp := servedAs(t, all, storeapi.ServerOptions{Registerer: i.registerer()}, true)
	api, err := query.NewHandler(engine, dedup.New(remote, dedup.Options{}), query.HandlerOptions{Registerer: i.registerer()})
	must(err)
	mux := http.NewServeMux()
	mux.Handle("/api/v1/write", write)
	mux.Handle("/", api)
	i.Handler = mux

	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	for _, run := range []func(context.Context) error{heads.Run, hist.Run, ship.Run, self.Run} {
		g.Go(func() error { return run(ctx) })
	}
	i.stop = func() error {
		cancel()
		hangUp()
		return errors.Join(g.Wait(), heads.Flush(context.Background()), ship.Ship(context.Background()),
			hist.Close(), heads.Close(), bkt.Close())
	}
	return i
}

func (i *instance) write(t *testing.T, v float64) {
	t.Helper()
	body, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:  []prompb.Label{{Name: "__name__", Value: "answer"}},
		Samples: []prompb.Sample{{Timestamp: time.Now().UnixMilli(), Value: v}},
	}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	i.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/api/v1/write", bytes.NewReader(snappy.Encode(nil, body))))
	if rec.Code != http.StatusNoContent {
		t.Fatalf("write: %d %s", rec.Code, rec.Body)
	}
}

func (i *instance) query(t *testing.T, q string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	i.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/api/v1/query?query="+url.QueryEscape(q), http.NoBody))
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
		Error string
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != http.StatusOK {
		t.Fatalf("query %s: %d %s (%v)", q, rec.Code, rec.Body, err)
	}
	var text string
	for _, r := range answer.Data.Result {
		text += fmt.Sprintf("%s=%v ", r.Metric["instance_name"], r.Value[1])
	}
	return text
}

// TestTwoOfEverything runs two complete instances in one process, one with a
// registry and one without.
func TestTwoOfEverything(t *testing.T) {
	reg := prometheus.NewRegistry()
	metered, silent := startInstance(t, "metered", reg), startInstance(t, "silent", nil)
	for round := range 3 {
		metered.write(t, float64(round))
		silent.write(t, float64(10+round))
		time.Sleep(2 * time.Millisecond) // Samples of one time would be one.
	}
	eventually(t, func() error { // The stores sync as Run begins.
		if got := metered.query(t, `answer`) + silent.query(t, `answer`); got != "metered=2 silent=12 " {
			return fmt.Errorf("the two answer %s", got)
		}
		if got := metered.query(t, `up{job="self"}`); got != "metered=1 " {
			return fmt.Errorf("the first scrapes itself: %q", got)
		}
		return nil
	})
	if n, err := testutil.GatherAndCount(reg, "varve_receive_requests_total"); err != nil || n == 0 {
		t.Errorf("%d request counters, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil {
		t.Error(err)
	} else {
		for _, p := range problems {
			if len(p.Metric) > 6 && p.Metric[:6] == "varve_" {
				t.Errorf("metric %s: %s", p.Metric, p.Text)
			}
		}
	}
	if err := errors.Join(metered.stop(), silent.stop()); err != nil {
		t.Error(err)
	}
}

// TestReplacedWithAllMetrics builds everything anew, as a host does after a change
// of its configuration: on its one registry what can be closed, and the rest on
// one that comes and goes with it.
func TestReplacedWithAllMetrics(t *testing.T) {
	host := prometheus.NewRegistry()
	dir := t.TempDir()
	for range 2 {
		own := prometheus.NewRegistry()
		metered, err1 := objstore.WithMetrics(objstoretest.NewMemory(), objstore.MetricsOptions{Registerer: host})
		if err1 != nil {
			t.Fatal(err1)
		}
		bkt, err1 := cache.New(metered, cache.Options{Registerer: host})
		heads, err2 := receive.OpenTenants(dir, receive.TenantsOptions{Registerer: host, TSDBMetrics: true})
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		hist, err1 := store.Open(bkt, t.TempDir(), store.Options{Registerer: host})
		_, err2 = block.NewShipper(bkt, heads, block.ShipperOptions{Registerer: own})
		_, err3 := receive.NewHandler(heads, receive.HandlerOptions{Registerer: own})
		engine, err4 := query.NewEngine(query.EngineOptions{Registerer: own})
		_, err5 := query.NewHandler(engine, heads, query.HandlerOptions{Registerer: own})
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
			t.Fatal(err)
		}
		if n, err := testutil.GatherAndCount(prometheus.Gatherers{host, own}, "varve_query_requests_in_flight", "varve_store_queriers", "varve_receive_tenants_open"); n != 3 || err != nil {
			t.Errorf("%d of three metrics, %v", n, err)
		}
		if err := errors.Join(hist.Close(), heads.Close(), bkt.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if families, err := host.Gather(); err != nil || len(families) != 0 {
		t.Errorf("the host's registry keeps %v, %v", families, err)
	}
}

// A bucket that nobody has looked into yet may hold anything: until then a
// query is told so, and does not take it for empty.
func TestUnknownBucketIsNoEmptyBucket(t *testing.T) {
	p := openParts(t)
	defer p.close(t)
	engine, err := query.NewEngine(query.EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := query.NewFanout([]storage.ChunkQueryable{p.heads, p.hist}, query.FanoutOptions{})
	api, err := query.NewHandler(engine, dedup.New(all, dedup.Options{ReplicaLabels: []string{"replica"}}), query.HandlerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(more string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/api/v1/query?query=up"+more, http.NoBody))
		return rec
	}
	if rec := ask(""); rec.Code != http.StatusServiceUnavailable || !strings.Contains(rec.Body.String(), "not known yet") {
		t.Errorf("before the first sync: %d %s", rec.Code, rec.Body)
	}
	if rec := ask("&partial_response=true"); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), "not known yet") {
		t.Errorf("before the first sync, in part: %d %s", rec.Code, rec.Body)
	}
	if err := p.hist.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rec := ask(""); rec.Code != http.StatusOK || strings.Contains(rec.Body.String(), "warnings") {
		t.Errorf("after it: %d %s", rec.Code, rec.Body)
	}
}
