package receive

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Counters of the TSDB that tell what its API does not.
const (
	// A log that could not be read to its end was repaired on opening.
	repairsCounter = "prometheus_tsdb_wal_corruptions_total"
	// A record could not be written to the write-ahead log, which may hold a part
	// of it. It is counted before anything else is written there.
	tornLogsCounter = "prometheus_tsdb_wal_writes_failed_total"
	// Out-of-order samples that are in memory could not be logged.
	lostLogsCounter = "prometheus_tsdb_out_of_order_wbl_writes_failed_total"
	// Samples that commits have put into memory, by type: a vector.
	appendedCounters = "prometheus_tsdb_head_samples_appended_total"
)

// recorder is the registerer that a TSDB gets. It passes the metrics on, if
// there is where to, and can undo all of it; it remembers a conflict where the
// TSDB would panic over it; and it lets some counters be read.
type recorder struct {
	into prometheus.Registerer // may be nil

	mu         sync.Mutex
	registered []prometheus.Collector
	watched    map[string]prometheus.Metric // the counters, which go on counting
	perType    []prometheus.Counter         // of appendedCounters
	errs       []error
}

// Register remembers c and passes it on. It always returns nil; err has what
// went wrong.
func (r *recorder) Register(c prometheus.Collector) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watch(c)
	if r.into == nil {
		return nil
	}
	if err := r.into.Register(c); err != nil {
		r.errs = append(r.errs, err)
		return nil
	}
	r.registered = append(r.registered, c)
	return nil
}

// watch keeps c if it is to be read.
func (r *recorder) watch(c prometheus.Collector) {
	name := watchedName(c)
	if name == "" {
		return
	}
	if vec, ok := c.(*prometheus.CounterVec); ok {
		// The TSDB makes these when it first counts.
		r.perType = []prometheus.Counter{vec.WithLabelValues("float"), vec.WithLabelValues("histogram")}
		return
	}
	if r.watched == nil {
		r.watched = map[string]prometheus.Metric{}
	}
	one := make(chan prometheus.Metric, 1)
	c.Collect(one)
	r.watched[name] = <-one
}

// MustRegister is Register for several.
func (r *recorder) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		_ = r.Register(c)
	}
}

// Unregister undoes the registration of c.
func (r *recorder) Unregister(c prometheus.Collector) bool {
	return r.into == nil || r.into.Unregister(c)
}

func (r *recorder) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := errors.Join(r.errs...); err != nil {
		return fmt.Errorf("metrics are registered already (for a second instance wrap the registerer with prometheus.WrapRegistererWith): %w", err)
	}
	return nil
}

// unregisterAll undoes every registration.
func (r *recorder) unregisterAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.registered {
		r.into.Unregister(c)
	}
	r.registered = nil
}

// counter returns the value of a watched counter, zero if the TSDB has none.
func (r *recorder) counter(name string) float64 {
	r.mu.Lock()
	c := r.watched[name]
	r.mu.Unlock()
	return counted(c)
}

// appended returns how many samples commits have put into memory so far, whatever
// their type. One that was there already is none.
func (r *recorder) appended() (n float64) {
	r.mu.Lock()
	counters := r.perType
	r.mu.Unlock()
	for _, c := range counters {
		n += counted(c)
	}
	return n
}

func counted(c prometheus.Metric) float64 {
	var m dto.Metric
	if c == nil || c.Write(&m) != nil {
		return 0
	}
	return m.GetCounter().GetValue()
}

// watchedName returns the name of a counter that is watched, or "".
func watchedName(c prometheus.Collector) (name string) {
	descs := make(chan *prometheus.Desc)
	go func() {
		c.Describe(descs)
		close(descs)
	}()
	for desc := range descs {
		text := desc.String()
		for _, watched := range []string{repairsCounter, tornLogsCounter, lostLogsCounter, appendedCounters} {
			if strings.Contains(text, `"`+watched+`"`) {
				name = watched
			}
		}
	}
	return name
}
