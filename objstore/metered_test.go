package objstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// counts returns the values of a counter by operation, those that are not zero.
func counts(t *testing.T, reg *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			v := m.GetCounter().GetValue()
			if h := m.GetHistogram(); h != nil {
				v = float64(h.GetSampleCount())
			}
			if f.GetName() == name && v != 0 {
				got[m.GetLabel()[0].GetValue()] = v
			}
		}
	}
	return got
}

func want(t *testing.T, reg *prometheus.Registry, name string, want map[string]float64) {
	t.Helper()
	if diff := cmp.Diff(want, counts(t, reg, name)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestMetrics(t *testing.T) {
	broken := errors.New("broken")
	theirs := errors.New("enough")
	ctx := context.Background()
	memory := objstoretest.NewMemory()
	memory.Put("object", []byte("0123456789"))
	faulty := objstoretest.NewFaulty(memory)
	reg := prometheus.NewRegistry()
	b := metered(t, faulty, objstore.MetricsOptions{Registerer: reg})

	get(t, ctx, b, "object")
	rc, err := b.GetRange(ctx, "object", 2, 3)
	read(t, rc, err)
	_ = b.Upload(ctx, "new", strings.NewReader("four"))

	// None of these is a failure of the bucket.
	_, _ = b.Get(ctx, "none")
	_, _ = b.Attributes(ctx, "none")
	_ = b.Iter(ctx, "", func(string) error { return theirs })
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, _ = b.Exists(canceled, "object")
	want(t, reg, "varve_objstore_operation_failures_total", map[string]float64{})

	// All of these are.
	faulty.Set(objstoretest.Rule{Fault: objstoretest.Fail(broken)})
	_, _ = b.Get(ctx, "object")
	_, _ = b.Exists(ctx, "object")
	_ = b.Delete(ctx, "object")
	_ = b.Iter(ctx, "", func(string) error { return nil })
	faulty.Set(objstoretest.Rule{Fault: objstoretest.Break(4, broken)})
	rc, err = b.GetRange(ctx, "object", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 20)
	for range 4 { // a body that broke is one failure however often it is read
		_, _ = rc.Read(buf)
	}
	_ = rc.Close()
	_ = rc.Close()
	want(t, reg, "varve_objstore_operation_failures_total", map[string]float64{
		"get": 1, "exists": 1, "delete": 1, "iter": 1, "get_range": 1,
	})

	all := map[string]float64{"get": 3, "get_range": 2, "upload": 1, "attributes": 1, "iter": 2, "exists": 2, "delete": 1}
	want(t, reg, "varve_objstore_operations_total", all)
	want(t, reg, "varve_objstore_operation_duration_seconds", all)
	want(t, reg, "varve_objstore_read_bytes_total", map[string]float64{"get": 10, "get_range": 3 + 4})
	want(t, reg, "varve_objstore_written_bytes_total", map[string]float64{"upload": 4})
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint of the metrics: %v, %v", problems, err)
	}
}

func TestExpectedErrors(t *testing.T) {
	broken, special := errors.New("broken"), errors.New("special")
	ctx := context.Background()
	faulty := objstoretest.NewFaulty(objstoretest.NewMemory())
	reg := prometheus.NewRegistry()
	b := retrying(t, metered(t, faulty, objstore.MetricsOptions{
		Registerer: reg,
		Expected:   func(err error) bool { return errors.Is(err, special) },
	}), objstore.RetryOptions{MaxAttempts: 1})
	isBroken := func(err error) bool { return errors.Is(err, broken) }

	for _, c := range []struct {
		fault    error
		bucket   objstore.BucketReader
		failures map[string]float64
	}{
		{special, b, map[string]float64{}},
		{broken, b.WithExpectedErrs(isBroken), map[string]float64{}},
		{broken, b.ReaderWithExpectedErrs(isBroken), map[string]float64{}},
		{special, b.WithExpectedErrs(isBroken), map[string]float64{"exists": 1}},
		{broken, b, map[string]float64{"exists": 2}},
	} {
		faulty.Set(objstoretest.Rule{Fault: objstoretest.Fail(c.fault)})
		if _, err := c.bucket.Exists(ctx, "object"); !errors.Is(err, c.fault) {
			t.Fatalf("Exists: %v", err)
		}
		want(t, reg, "varve_objstore_operation_failures_total", c.failures)
	}
}

func TestMetricsTwice(t *testing.T) {
	reg := prometheus.NewRegistry()
	metered(t, objstoretest.NewMemory(), objstore.MetricsOptions{Registerer: reg})
	_, err := objstore.WithMetrics(objstoretest.NewMemory(), objstore.MetricsOptions{Registerer: reg})
	if err == nil || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Errorf("registering twice: %v; want an error that says what to do", err)
	}
	shared := prometheus.NewRegistry()
	for _, name := range []string{"a", "b"} {
		wrapped := prometheus.WrapRegistererWith(prometheus.Labels{"bucket": name}, shared)
		metered(t, objstoretest.NewMemory(), objstore.MetricsOptions{Registerer: wrapped})
	}

	retries := prometheus.NewRegistry()
	retrying(t, objstoretest.NewMemory(), objstore.RetryOptions{Registerer: retries})
	if _, err := objstore.WithRetry(objstoretest.NewMemory(), objstore.RetryOptions{Registerer: retries}); err == nil {
		t.Error("registering the metrics of retries twice succeeded")
	}
}

func TestCloseTakesMetricsBack(t *testing.T) {
	reg := prometheus.NewRegistry()
	for range 2 {
		counted, err := objstore.WithMetrics(objstoretest.NewMemory(), objstore.MetricsOptions{Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		bkt, err := objstore.WithRetry(counted, objstore.RetryOptions{Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		if families, err := reg.Gather(); err != nil || len(families) == 0 {
			t.Errorf("%d metrics, %v", len(families), err)
		}
		if err := bkt.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if families, err := reg.Gather(); err != nil || len(families) != 0 {
		t.Errorf("after Close %v are left, %v", families, err)
	}
}
