package e2e

import (
	"fmt"
	"hash/fnv"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/util/osutil"
)

// A Prometheus scrapes a target at an offset within the interval that it makes of
// its host's name, its external labels and the target's own labels: see offset in
// its scrape/target.go and setOffsetSeed in scrape/manager.go. So labels can be
// chosen that make two servers scrape as far apart as a test wants.

// offsets tells the scrape offsets of a server.
type offsets struct {
	config *config.ScrapeConfig
	seed   uint64
}

// offsetsOf takes the configuration of a server on this host, with one job.
func offsetsOf(t *testing.T, text string) offsets {
	t.Helper()
	cfg, err := config.Load(text, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := cfg.GetScrapeConfigs()
	if err != nil {
		t.Fatal(err)
	}
	host, err := osutil.GetFQDN()
	if err != nil {
		t.Fatal(err)
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s%s", host, cfg.GlobalConfig.ExternalLabels)
	return offsets{config: jobs[0], seed: h.Sum64()}
}

// of returns the offset for a target.
func (o offsets) of(t *testing.T, address, phase string) time.Duration {
	t.Helper()
	target := model.LabelSet{model.AddressLabel: model.LabelValue(address)}
	group := model.LabelSet{"phase": model.LabelValue(phase)}
	lset, err := scrape.PopulateLabels(labels.NewBuilder(labels.EmptyLabels()), o.config, target, group)
	if err != nil {
		t.Fatal(err)
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%016d", lset.Hash())
	fmt.Fprint(h, scrape.NewTarget(lset, o.config, target, group).URL())
	return time.Duration((h.Sum64() ^ o.seed) % uint64(o.config.ScrapeInterval))
}

// phasesApart returns n values of the label phase with which both servers scrape
// the target the given time apart, give or take 2 ms.
func phasesApart(t *testing.T, a, b offsets, address string, apart time.Duration, n int) (phases []string) {
	t.Helper()
	interval := time.Duration(a.config.ScrapeInterval)
	for i := 0; len(phases) < n; i++ {
		phase := strconv.Itoa(i)
		off := (a.of(t, address, phase) - b.of(t, address, phase) + interval) % interval
		if off = min(off, interval-off); (off - apart).Abs() <= 2*time.Millisecond {
			phases = append(phases, phase)
		}
	}
	return phases
}
