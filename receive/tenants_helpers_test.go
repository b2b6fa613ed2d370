package receive

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"go.uber.org/goleak"

	"github.com/varve-tsdb/varve/internal/readopts"
)

// base is a multiple of every block duration the tests use.
const base = int64(1_700_006_400_000)

// leakCheck fails the test if it leaves goroutines behind. It has to be the
// first thing a test does.
func leakCheck(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// openTenants returns tenants that are all open.
func openTenants(t *testing.T, dir string, opts TenantsOptions) *Tenants {
	t.Helper()
	tenants := findTenants(t, dir, opts)
	if err := tenants.OpenAll(t.Context()); err != nil {
		t.Fatalf("open all: %v", err)
	}
	return tenants
}

// findTenants returns tenants that are not open yet.
func findTenants(t *testing.T, dir string, opts TenantsOptions) *Tenants {
	t.Helper()
	tenants, err := OpenTenants(dir, opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := tenants.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return tenants
}

// write appends one float sample a series and commits.
func write(ctx context.Context, to *Tenants, tenant string, ts int64, v float64, series ...labels.Labels) error {
	app, err := to.Appender(ctx, tenant)
	if err != nil {
		return err
	}
	for _, ls := range series {
		if _, err := app.Append(0, ls, 0, ts, v, nil, nil, storage.AOptions{}); err != nil {
			_ = app.Rollback()
			return err
		}
	}
	return app.Commit()
}

func mustWrite(t *testing.T, to *Tenants, tenant string, ts int64, v float64, series ...labels.Labels) {
	t.Helper()
	if err := write(t.Context(), to, tenant, ts, v, series...); err != nil {
		t.Fatalf("write to %s at %d: %v", tenant, ts, err)
	}
}

type point struct {
	t int64
	v float64
}

type readSeries struct {
	labels string
	points []point
}

// read returns what a querier answers, in its order and with every sample as
// often as it comes.
func read(ctx context.Context, from storage.ChunkQueryable, mint, maxt int64, ms ...*labels.Matcher) (out []readSeries, err error) {
	q, err := from.ChunkQuerier(mint, maxt)
	if err != nil {
		return nil, err
	}
	defer func() { _ = q.Close() }()
	return readFrom(ctx, q, mint, maxt, ms...)
}

func readFrom(ctx context.Context, q storage.ChunkQuerier, mint, maxt int64, ms ...*labels.Matcher) (out []readSeries, err error) {
	if len(ms) == 0 {
		ms = []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".*")}
	}
	set := q.Select(ctx, true, nil, ms...)
	for set.Next() {
		s := readSeries{labels: set.At().Labels().String()}
		chunks := set.At().Iterator(nil)
		for chunks.Next() {
			it := chunks.At().Chunk.Iterator(nil)
			for it.Next() == chunkenc.ValFloat {
				if ts, v := it.At(); ts >= mint && ts <= maxt {
					s.points = append(s.points, point{ts, v})
				}
			}
			if it.Err() != nil {
				return nil, it.Err()
			}
		}
		if chunks.Err() != nil {
			return nil, chunks.Err()
		}
		out = append(out, s)
	}
	return out, set.Err()
}

func mustRead(t *testing.T, from storage.ChunkQueryable, mint, maxt int64, ms ...*labels.Matcher) []readSeries {
	t.Helper()
	out, err := read(t.Context(), from, mint, maxt, ms...)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return out
}

func mustReadAll(t *testing.T, from storage.ChunkQueryable, ms ...*labels.Matcher) []readSeries {
	t.Helper()
	return mustRead(t, from, math.MinInt64, math.MaxInt64, ms...)
}

func labelsOf(series []readSeries) (out []string) {
	for _, s := range series {
		out = append(out, s.labels)
	}
	return out
}

func equal(name, value string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchEqual, name, value)
}

func up(instance string) labels.Labels {
	return labels.FromStrings(model.MetricNameLabel, "up", "instance", instance)
}

func asTenant(ctx context.Context, tenant string) context.Context {
	return readopts.With(ctx, readopts.Options{Tenant: tenant})
}

func partially(ctx context.Context) context.Context {
	return readopts.With(ctx, readopts.Options{Partial: true})
}

func seconds(n int) int64 { return int64(n) * time.Second.Milliseconds() }

func sprint(a ...any) string { return fmt.Sprint(a...) }
