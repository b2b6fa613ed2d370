package receive

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// ExemplarAppender is an optional power of an Appendable: to keep exemplars
// that come without a sample. Prometheus sends them so, in a series of the
// request that has nothing else, in both versions of the protocol. Without it
// they are accepted and dropped.
//
// The exemplars are in ascending order of time, and of a series that the tenant
// need not have, nor need there be such a tenant: they must not bring one into
// being. The labels may be kept, the slice may not. Of those that are
// not taken the error tells why, as a *storage.AppendPartialError; it never
// fails a request.
type ExemplarAppender interface {
	AppendExemplars(ctx context.Context, tenant string, ls labels.Labels, exemplars []exemplar.Exemplar) error
}

// loneExemplars are those of a series without samples.
type loneExemplars struct {
	ls        labels.Labels
	exemplars []exemplar.Exemplar
}

// loneExemplars keeps the exemplars of a series without samples until the
// samples of the request are stored: its series may be among them. An error
// means that the request is malformed.
func (a *appendRun) loneExemplars(t *appendTarget) error {
	if err := a.seriesExemplars(t); err != nil {
		return err
	}
	// Without a sample there is no other time to give them.
	timed := slices.DeleteFunc(slices.Clone(t.opts.Exemplars), func(e exemplar.Exemplar) bool { return !e.HasTs })
	a.tally.exemplars[exemplarInvalid] += len(t.opts.Exemplars) - len(timed)
	if len(timed) > 0 {
		a.lone = append(a.lone, loneExemplars{t.ls.Copy(), timed})
	}
	return nil
}

// appendLone hands over the exemplars without samples.
func (a *appendRun) appendLone(ctx context.Context) {
	to, ok := a.to.(ExemplarAppender)
	for _, l := range a.lone {
		n := len(l.exemplars)
		switch {
		case a.tx.broken != 0:
			a.tally.exemplars[exemplarFailed] += n
			continue
		case !ok:
			a.tally.exemplars[exemplarRefused] += n
			continue
		}
		err := to.AppendExemplars(ctx, a.tenant, l.ls, l.exemplars)
		var partial *storage.AppendPartialError
		switch {
		case errors.As(err, &partial):
			a.countExemplarErrors(partial)
			n -= len(partial.ExemplarErrors)
			a.tally.exemplars[exemplarStored] += max(n, 0)
		case err != nil:
			a.tally.exemplars[exemplarFailed] += n
		default:
			a.tally.exemplars[exemplarStored] += n
		}
	}
}

// errNoTenant is why what comes without samples is not kept for a tenant that
// has none: whoever may write could fill the disk with tenants of made-up names.
var errNoTenant = errors.New("nothing but samples makes a new tenant")

// existing returns the slot of a tenant that there is already.
func (t *Tenants) existing(tenant string) (*slot, error) {
	t.mu.RLock()
	s, closed := t.slots[tenant], t.closed
	t.mu.RUnlock()
	switch {
	case closed:
		return nil, ErrClosed
	case s != nil:
		return s, nil
	}
	if err := ValidateTenant(tenant); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("tenant %q: %w", tenant, errNoTenant)
}

// refuseExemplars returns the error that none of n exemplars is kept.
func refuseExemplars(n int, err error) error {
	if n == 0 {
		return nil
	}
	partial := storage.AppendPartialError{ExemplarErrors: slices.Repeat([]error{err}, n)}
	return partial.ToError()
}

// AppendExemplars keeps exemplars of a series that the tenant's head has; those
// of any other are refused, as are those of a tenant that does not exist and all
// if MaxExemplars is negative.
func (t *Tenants) AppendExemplars(ctx context.Context, tenant string, ls labels.Labels, exemplars []exemplar.Exemplar) error {
	s, err := t.existing(tenant)
	if errors.Is(err, errNoTenant) {
		return refuseExemplars(len(exemplars), err)
	}
	if err != nil {
		return err
	}
	if err := t.space.check(); err != nil {
		return &TenantError{Tenant: s.name, Kind: ErrNoSpace, Err: err}
	}
	h, err := s.openWriter(ctx)
	if err != nil {
		return err
	}
	if h == nil {
		return refuseExemplars(len(exemplars), fmt.Errorf("exemplar of %s: the tenant has no series in memory", clip(ls.String(), tallySeriesBytes)))
	}
	defer h.writers.leave()
	return h.appendExemplars(ctx, ls, exemplars)
}

// appendExemplars needs the appender that the TSDB is about to give up, since
// its successor takes no exemplar without a sample. The caller must have
// entered the writers' gate.
func (h *head) appendExemplars(ctx context.Context, ls labels.Labels, exemplars []exemplar.Exemplar) (err error) {
	if h.opts.MaxExemplars <= 0 {
		return refuseExemplars(len(exemplars), storage.ErrExemplarsDisabled)
	}
	series := clip(ls.String(), tallySeriesBytes)
	if h.db.Head().NumSeries() == 0 {
		// An empty head would take its time from the exemplar.
		return refuseExemplars(len(exemplars), fmt.Errorf("exemplar of %s: the tenant has no series in memory", series))
	}
	partial := &storage.AppendPartialError{}
	defer h.fence("append exemplars", true, &err)
	app := h.db.Appender(ctx)
	for _, e := range exemplars {
		if _, err := app.AppendExemplar(0, ls, e); err != nil && !errors.Is(err, storage.ErrDuplicateExemplar) {
			partial.ExemplarErrors = append(partial.ExemplarErrors, fmt.Errorf("exemplar of %s: %w", series, err))
		}
	}
	if err := app.Commit(); err != nil {
		return h.fail("write to the write-ahead log", err, false)
	}
	if err := h.logged(); err != nil {
		return err
	}
	h.addExemplars(len(exemplars) - len(partial.ExemplarErrors))
	return partial.ToError()
}
