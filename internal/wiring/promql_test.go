package wiring

import (
	"path"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/query"
)

// exceptions are the scripts that do not hold, and why.
var exceptions = map[string]string{
	"start_timestamps.test": "blocks are written in encodings that every Thanos reads, and those have no start timestamps",
}

func TestPromQLScripts(t *testing.T) {
	engine := newEngine(t, promqltest.DefaultMaxSamplesPerQuery)
	for _, name := range []string{"head", "bucket", "bucket behind gRPC"} {
		t.Run(name, func(t *testing.T) {
			promqltest.RunBuiltinTestsWithStorage(scripts{t}, engine, func(t testing.TB) storage.Storage {
				return &recorded{t: t, wire: wirings[name]}
			})
		})
	}
}

func newEngine(t testing.TB, maxSamples int) promql.QueryEngine {
	t.Helper()
	engine, err := query.NewEngine(query.EngineOptions{
		Timeout:            100 * time.Second,
		MaxSamples:         maxSamples,
		Parser:             promqltest.TestParserOpts,
		DelayedNameRemoval: true,
		StartTimestamps:    true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// scripts runs each script as a test, but for the exceptions.
type scripts struct{ *testing.T }

func (s scripts) Run(name string, f func(*testing.T)) bool {
	return s.T.Run(path.Base(name), func(t *testing.T) {
		if reason := exceptions[path.Base(name)]; reason != "" {
			t.Skip(reason)
		}
		t.Parallel() // Cutting a block waits for the disk again and again.
		f(t)
	})
}
