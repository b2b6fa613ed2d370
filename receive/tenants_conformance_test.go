package receive

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/query/querytest"
)

func TestTenantsConform(t *testing.T) {
	leakCheck(t)
	external := make([]labels.Labels, 3)
	for i := range external {
		external[i] = labels.FromStrings("cluster", "eu", "replica", "1", "tenant_id", sprint("team-", i))
	}
	opts := TenantsOptions{Labels: labels.FromStrings("cluster", "eu", "replica", "1"), BlockDuration: 10 * time.Minute}
	suite := querytest.Options{External: external, Exemplars: true, Metadata: true}
	t.Run("in memory", func(t *testing.T) {
		querytest.Run(t, suite, func(t *testing.T, data querytest.Data) storage.ChunkQueryable {
			tenants := openTenants(t, fastTempDir(t), opts)
			store(t, tenants, data)
			return tenants
		})
	})
	t.Run("flushed, cut and in memory", func(t *testing.T) {
		opts := opts
		opts.OutOfOrderWindow = time.Hour
		querytest.Run(t, suite, func(t *testing.T, data querytest.Data) storage.ChunkQueryable {
			third := (querytest.End - querytest.Start) / 3
			tenants := openTenants(t, fastTempDir(t), opts)
			store(t, tenants, data.Between(math.MinInt64, querytest.Start+third))
			if err := tenants.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			store(t, tenants, data.Between(querytest.Start+third, querytest.Start+2*third))
			if err := tenants.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			store(t, tenants, data.Between(querytest.Start+2*third, math.MaxInt64))
			return tenants
		})
	})
	t.Run("idle", func(t *testing.T) {
		opts := opts
		opts.IdleAfter = atOnce
		suite := suite
		suite.Exemplars, suite.Metadata = false, false // They go with the head.
		querytest.Run(t, suite, func(t *testing.T, data querytest.Data) storage.ChunkQueryable {
			tenants := openTenants(t, fastTempDir(t), opts)
			store(t, tenants, data)
			if err := tenants.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			if idle := tenants.idleTenants(); idle != float64(len(data.Streams)) {
				t.Fatalf("%v tenants are idle", idle)
			}
			return tenants
		})
	})
}

// store appends data, each stream to the tenant that its labels name.
func store(t *testing.T, to *Tenants, data querytest.Data) {
	t.Helper()
	apps := map[string]storage.AppenderV2{}
	appender := func(tenant string) storage.AppenderV2 {
		if apps[tenant] == nil {
			app, err := to.Appender(t.Context(), tenant)
			if err != nil {
				t.Fatal(err)
			}
			apps[tenant] = app
		}
		return apps[tenant]
	}
	exemplars := map[[2]int][]exemplar.Exemplar{}
	last := int64(0)
	for p := range data.ByTime() {
		stream := data.Streams[p.Stream]
		series := stream.Series[p.Series]
		key := [2]int{p.Stream, p.Series}
		if _, seen := exemplars[key]; !seen {
			exemplars[key] = series.Exemplars
		}
		var due []exemplar.Exemplar
		isLast := p.Sample.T == series.Samples[len(series.Samples)-1].T
		// The TSDB takes no exemplars with a stale marker.
		for len(exemplars[key]) > 0 && !stale(p.Sample) && (isLast || exemplars[key][0].Ts <= p.Sample.T) {
			due, exemplars[key] = append(due, exemplars[key][0]), exemplars[key][1:]
		}
		if p.Sample.T != last {
			// A commit now and then, as samples come in time.
			commitAll(t, apps)
			last = p.Sample.T
		}
		_, err := appender(stream.External.Get("tenant_id")).Append(0, series.Labels, 0, p.Sample.T, p.Sample.Float,
			p.Sample.Histogram, p.Sample.FloatHistogram, storage.AOptions{Exemplars: due})
		if err != nil {
			t.Fatalf("append to %s at %d: %v", series.Labels, p.Sample.T, err)
		}
	}
	commitAll(t, apps)
	for _, stream := range data.Streams {
		for family, m := range stream.Metadata {
			if err := to.AppendMetadata(context.Background(), stream.External.Get("tenant_id"), family, m); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func stale(s querytest.Sample) bool {
	return value.IsStaleNaN(s.Float) || s.Histogram != nil && value.IsStaleNaN(s.Histogram.Sum) ||
		s.FloatHistogram != nil && value.IsStaleNaN(s.FloatHistogram.Sum)
}

func commitAll(t *testing.T, apps map[string]storage.AppenderV2) {
	t.Helper()
	for tenant, app := range apps {
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
		delete(apps, tenant)
	}
}
