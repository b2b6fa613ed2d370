package objstore_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func retrying(t *testing.T, b objstore.Bucket, opts objstore.RetryOptions) objstore.InstrumentedBucket {
	t.Helper()
	r, err := objstore.WithRetry(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func metered(t *testing.T, b objstore.Bucket, opts objstore.MetricsOptions) objstore.InstrumentedBucket {
	t.Helper()
	m, err := objstore.WithMetrics(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func deadlined(t *testing.T, b objstore.Bucket, opts objstore.DeadlineOptions) objstore.InstrumentedBucket {
	t.Helper()
	d, err := objstore.WithDeadlines(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func hedged(t *testing.T, b objstore.Bucket, opts objstore.HedgeOptions) objstore.InstrumentedBucket {
	t.Helper()
	h, err := objstore.WithHedging(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestConformanceOfDecorators(t *testing.T) {
	memory := func() objstore.Bucket { return objstoretest.NewMemory() }
	for name, open := range map[string]func(t *testing.T) objstore.Bucket{
		"prefix":    func(*testing.T) objstore.Bucket { return objstore.WithPrefix(memory(), "a/b") },
		"requests":  func(*testing.T) objstore.Bucket { return objstore.WithRequests(memory()) },
		"metrics":   func(t *testing.T) objstore.Bucket { return metered(t, memory(), objstore.MetricsOptions{}) },
		"deadlines": func(t *testing.T) objstore.Bucket { return deadlined(t, memory(), objstore.DeadlineOptions{}) },
		"hedging":   func(t *testing.T) objstore.Bucket { return hedged(t, memory(), objstore.HedgeOptions{}) },
		"retry":     func(t *testing.T) objstore.Bucket { return retrying(t, memory(), objstore.RetryOptions{}) },
		"all": func(t *testing.T) objstore.Bucket {
			b := objstore.WithPrefix(memory(), "/p/")
			m := metered(t, objstore.WithRequests(b), objstore.MetricsOptions{Registerer: prometheus.NewRegistry()})
			d := deadlined(t, m, objstore.DeadlineOptions{Registerer: prometheus.NewRegistry()})
			h := hedged(t, d, objstore.HedgeOptions{Registerer: prometheus.NewRegistry()})
			return retrying(t, h, objstore.RetryOptions{Registerer: prometheus.NewRegistry()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			objstoretest.TestBucket(t, open)
			// The suite leaves out what a bucket does not support.
			if b := open(t); !slices.Contains(b.SupportedIterOptions(), objstore.UpdatedAt) {
				t.Error("lists no longer tell times, on which readers of blocks rely")
			}
		})
	}
}

// TestNoSDK holds the core, and what every test links, free of the providers'
// SDKs.
func TestNoSDK(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps",
		"github.com/varve-tsdb/varve/objstore",
		"github.com/varve-tsdb/varve/objstore/objstoretest",
		"github.com/varve-tsdb/varve/objstore/filesystem",
	).Output()
	if err != nil {
		t.Skipf("go list does not run here: %v", err)
	}
	for dep := range strings.Lines(string(out)) {
		for _, sdk := range []string{
			"objstore/providers/", "minio", "aws", "azure", "cloud.google.com", "google.golang.org/grpc",
			"oracle", "baidubce", "huaweicloud", "aliyun", "tencentyun", "ncw/swift", "k8s.io", "prometheus/prometheus",
		} {
			if strings.Contains(strings.ToLower(dep), sdk) {
				t.Errorf("linked without being asked for: %s", dep)
			}
		}
	}
}
