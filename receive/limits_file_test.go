package receive

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const (
	limitsOne   = "write: {default: {request: {series_limit: 1}}}\n"
	limitsTwo   = "write: {default: {request: {series_limit: 2}}}\n"
	badLimits   = "write: {defaults: {}}\n"
	worseLimits = "write: {default: {head_series: 1}}\n"
)

type limitsFileRig struct {
	*LimitsFile
	path string
	reg  *prometheus.Registry
	log  *bytes.Buffer
}

func newLimitsFileRig(t *testing.T) limitsFileRig {
	t.Helper()
	rig := limitsFileRig{path: filepath.Join(t.TempDir(), "limits.yaml"), reg: prometheus.NewRegistry(), log: new(bytes.Buffer)}
	f, err := NewLimitsFile(rig.path, LimitsFileOptions{
		Registerer: rig.reg, Interval: time.Minute, Logger: slog.New(slog.NewTextHandler(rig.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	rig.LimitsFile = f
	return rig
}

func (r limitsFileRig) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// series is the limit that is in force, 0 if there is none.
func (r limitsFileRig) series() int {
	if set := r.Current(); set != nil {
		return set.Default.RequestSeries
	}
	return 0
}

func TestLimitsFileKeepsTheLastGoodOne(t *testing.T) {
	rig := newLimitsFileRig(t)
	if err := rig.Load(t.Context()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), rig.path) || rig.Current() != nil {
		t.Fatalf("without a file: %v", err)
	}
	for _, step := range []struct {
		text string
		bad  bool
		want int
	}{
		{limitsOne, false, 1},
		{badLimits, true, 1},
		{badLimits, true, 1},
		{worseLimits, true, 1},
		{limitsOne, false, 1},
		{limitsTwo, false, 2},
		{badLimits, true, 2},
		{limitsTwo, false, 2},
	} {
		rig.write(t, step.text)
		err := rig.Load(t.Context())
		if errors.Is(err, ErrInvalidLimits) != step.bad || (err != nil) != step.bad || rig.series() != step.want {
			t.Fatalf("%q: limit %d, error %v", step.text, rig.series(), err)
		}
	}
	for text, n := range map[string]int{"cannot be used": 4, "good again": 3, "Limits loaded": 2, "defaults": 2} {
		if got := strings.Count(rig.log.String(), text); got != n {
			t.Errorf("the log says %q %d times, want %d:\n%s", text, got, n, rig.log)
		}
	}
	want := `
		# HELP varve_receive_limit_file_last_load_successful Whether the limits file was good when last looked at.
		# TYPE varve_receive_limit_file_last_load_successful gauge
		varve_receive_limit_file_last_load_successful 1
		# HELP varve_receive_limit_file_loads_total Looks at the limits file, by what came of them.
		# TYPE varve_receive_limit_file_loads_total counter
		varve_receive_limit_file_loads_total{result="changed"} 2
		varve_receive_limit_file_loads_total{result="failed"} 5
		varve_receive_limit_file_loads_total{result="unchanged"} 2
	`
	if err := testutil.GatherAndCompare(rig.reg, strings.NewReader(want), "varve_receive_limit_file_last_load_successful", "varve_receive_limit_file_loads_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(rig.reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// Whoever brings a file of Thanos is told what of it is not needed here.
func TestLimitsFileSaysWhatIsUnused(t *testing.T) {
	rig := newLimitsFileRig(t)
	rig.write(t, thanosLimits)
	if err := rig.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"write.global.meta_monitoring_url", "counted by the receiver"} {
		if !strings.Contains(rig.log.String(), text) {
			t.Errorf("the log does not say %q:\n%s", text, rig.log)
		}
	}
}

func TestLimitsFileOptions(t *testing.T) {
	if _, err := NewLimitsFile("x", LimitsFileOptions{Interval: -1}); err == nil || !strings.Contains(err.Error(), "Interval: ") {
		t.Errorf("%v does not name the field", err)
	}
	reg := prometheus.NewRegistry()
	if _, err := NewLimitsFile("x", LimitsFileOptions{Registerer: reg}); err != nil {
		t.Error(err)
	}
	if _, err := NewLimitsFile("x", LimitsFileOptions{Registerer: reg}); err == nil || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Errorf("twice on one registry: %v, want the remedy", err)
	}
}

func TestLimitsFileRunFollowsTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newLimitsFileRig(t)
		h := newTestHandler(t, newFakeStorage(), HandlerOptions{Limits: rig.Current, TooFarInFuture: -1})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- rig.Run(ctx) }()
		at := int64(0)
		for _, step := range []struct {
			text   string
			status int
		}{{badLimits, 204}, {limitsOne, 413}, {badLimits, 413}, {limitsTwo, 204}, {limitsOne, 413}} {
			rig.write(t, step.text)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			at++
			wantAnswer(t, rwRequest{message: v1(v1Series(named("a"), at), v1Series(named("b"), at))}.send(t, h), step.status)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v after cancel, want nil", err)
		}
	})
}
