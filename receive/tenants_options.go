package receive

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// TenantsOptions are the settings of OpenTenants. The zero value is usable.
type TenantsOptions struct {
	// Labels are the external labels of all tenants, which every series shows
	// and every block carries. They say which receiver wrote a block, so two
	// receivers that ship into one bucket need different ones. Default none.
	//
	// When they change, blocks that were cut before are shipped under the
	// labels of then, and are not read from the local disk any more once they
	// are shipped. What is in memory and its log shows, and gets, the new ones.
	Labels labels.Labels
	// ExternalLabels returns more external labels of one tenant, to which those in
	// Labels and TenantLabel are preferred; Hashrings.ExternalLabels is such a
	// function. It is called by many at once, when a tenant is first seen or
	// opened and by each pass, and must not wait. When it returns others than
	// before, the next pass opens the tenant anew, and what is said of changes of
	// Labels holds. The metric's name is left out. Default nil: there are none.
	ExternalLabels func(tenant string) labels.Labels
	// TenantLabel is the external label that carries the tenant's name.
	// Default "tenant_id".
	TenantLabel string
	// BlockDuration is the time range of the blocks that are cut; each lies
	// within one multiple of it. Whole milliseconds, at least one second.
	// Default 2h. A shorter one ships sooner and makes more, smaller blocks.
	//
	// It is also what a head allows between its series: a sample that is more
	// than half of it older than the newest of the tenant is refused as out of
	// bounds unless OutOfOrderWindow takes it. So one sender whose clock is
	// ahead locks the others out; see MaxLead.
	BlockDuration time.Duration
	// Retention is how long a block stays on the local disk at least, counted
	// from its newest sample or from when it was cut, whichever came later.
	// Default 15 days; negative keeps blocks for ever. Past it a block also
	// stays until it has been shipped, unless LocalOnly is set.
	Retention time.Duration
	// IdleAfter is how long a tenant may go without a write until it is idle: it
	// is flushed to blocks, its TSDB is closed, and it costs next to nothing until
	// the next write opens it again. Its local blocks stay readable. An idle
	// tenant whose blocks are all shipped and past Retention is removed from the
	// disk. Default twice BlockDuration, but at least one hour; negative keeps
	// every TSDB open.
	//
	// As after Flush, samples that are older than the newest that was flushed are
	// refused when the tenant comes back, unless OutOfOrderWindow takes them.
	IdleAfter time.Duration
	// LocalOnly says that nothing ships the blocks: past Retention they are
	// deleted without having been shipped.
	LocalOnly bool
	// OutOfOrderWindow is how much older than the newest sample of the tenant
	// a sample may be and still be taken when it is not the newest of its
	// series. Whole milliseconds. Default 0: each series must move forward.
	OutOfOrderWindow time.Duration
	// SyncOnCommit has a commit return only when its samples are on the disk, so
	// that what was acknowledged survives a machine that loses its power. It
	// costs each commit the time of one or two syncs of the disk (per log: there
	// are two with OutOfOrderWindow), tens of microseconds to tens of
	// milliseconds. Commits to one tenant that happen side by side share them, so
	// throughput is kept by sending more requests at a time.
	SyncOnCommit bool
	// MaxExemplars is how many exemplars are kept in memory per tenant, the
	// newest. Memory for them is taken as they come, about 100 bytes each.
	// Default 10,000; negative keeps none.
	MaxExemplars int
	// MaxMetadataBytes bounds the memory for metric metadata (type, unit, help)
	// per tenant; beyond it the metrics not heard of for longest are forgotten.
	// Default 1 MiB; negative keeps none.
	MaxMetadataBytes int
	// MinFreeDisk is the free space in bytes that the disk of the data
	// directory must have: with less, writes are refused with ErrNoSpace and
	// nothing is opened, because the TSDB can lose its footing when a write
	// fails in the middle. Reads go on. Default 64 MiB; negative means none,
	// and so does a system that cannot tell the free space.
	MinFreeDisk int64
	// Interval is the time between two passes of Run. Default one minute, or a
	// tenth of BlockDuration if that is less.
	Interval time.Duration
	// Concurrency is how many tenants are opened, compacted, flushed or closed
	// side by side. Default runtime.GOMAXPROCS(0).
	Concurrency int
	// KeepGarbage leaves what opening tenants and cutting blocks leave behind, 1 to 20
	// MiB each time, to the runtime. By default such work is followed by runtime.GC,
	// which is for the whole process, once that has come to 32 MiB and to an eighth
	// of what is live since the last collection. Set it if the process bounds its
	// memory in another way, as by GOMEMLIMIT, or has so large a heap that a
	// collection costs more than the memory is worth.
	KeepGarbage bool
	// TSDBMetrics registers the TSDB's own metrics (prometheus_tsdb_...) for
	// every tenant, with the label "tenant": about a hundred series a tenant.
	TSDBMetrics bool
	// Logger gets the messages; nil is silent. What the TSDBs have to say at
	// level info appears at level debug.
	Logger *slog.Logger
	// Registerer gets the metrics; nil means none. Close unregisters them.
	Registerer prometheus.Registerer

	// syncFile, if set, is called instead of a file's Sync.
	syncFile func(*os.File) error
}

func (o TenantsOptions) withDefaults() TenantsOptions {
	if o.TenantLabel == "" {
		o.TenantLabel = "tenant_id"
	}
	if o.BlockDuration == 0 {
		o.BlockDuration = 2 * time.Hour
	}
	if o.Retention == 0 {
		o.Retention = 15 * 24 * time.Hour
	}
	if o.IdleAfter == 0 {
		o.IdleAfter = max(2*o.BlockDuration, time.Hour)
	}
	if o.MaxExemplars == 0 {
		o.MaxExemplars = 10_000
	}
	if o.MaxMetadataBytes == 0 {
		o.MaxMetadataBytes = 1 << 20
	}
	if o.MinFreeDisk == 0 {
		o.MinFreeDisk = 64 << 20
	}
	if o.Interval == 0 {
		o.Interval = min(time.Minute, o.BlockDuration/10)
	}
	if o.Concurrency == 0 {
		o.Concurrency = runtime.GOMAXPROCS(0)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate returns all that is wrong with the options, each by its field's
// name, or nil. Zero values are fine.
func (o TenantsOptions) Validate() error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	o = o.withDefaults()
	o.Labels.Range(func(l labels.Label) {
		switch {
		case l.Name == "" || l.Value == "":
			wrong("Labels", "%q=%q: names and values must not be empty", l.Name, l.Value)
		case !utf8.ValidString(l.Name) || !utf8.ValidString(l.Value):
			wrong("Labels", "%q=%q is not valid UTF-8", l.Name, l.Value)
		case l.Name == model.MetricNameLabel:
			wrong("Labels", "%s is the metric's name and cannot be an external label", l.Name)
		case l.Name == o.TenantLabel:
			wrong("Labels", "%s is the label that carries the tenant's name (TenantLabel)", l.Name)
		}
	})
	if name, dup := o.Labels.HasDuplicateLabelNames(); dup {
		wrong("Labels", "%s appears twice", name)
	}
	if o.TenantLabel == model.MetricNameLabel || !utf8.ValidString(o.TenantLabel) {
		wrong("TenantLabel", "%q cannot be an external label's name", o.TenantLabel)
	}
	switch {
	case o.BlockDuration < time.Second:
		wrong("BlockDuration", "%v is shorter than one second", o.BlockDuration)
	case o.BlockDuration%time.Millisecond != 0:
		wrong("BlockDuration", "%v is not a whole number of milliseconds", o.BlockDuration)
	}
	if o.OutOfOrderWindow < 0 || o.OutOfOrderWindow%time.Millisecond != 0 {
		wrong("OutOfOrderWindow", "%v is not a whole number of milliseconds", o.OutOfOrderWindow)
	}
	if o.Interval < 0 {
		wrong("Interval", "%v is negative", o.Interval)
	}
	if o.Concurrency < 0 {
		wrong("Concurrency", "%d is negative", o.Concurrency)
	}
	return errors.Join(errs...)
}
