package receive

import (
	"context"
	"sync"
	"time"

	"github.com/varve-tsdb/varve/internal/every"
)

// Run keeps the tenants in order until ctx is done: it calls OpenAll at once and,
// beside it, Compact at every interval, and logs and counts what goes wrong. It
// returns nil.
func (t *Tenants) Run(ctx context.Context) error {
	var opening sync.WaitGroup
	defer opening.Wait()
	opening.Go(func() { _ = t.OpenAll(ctx) })
	return every.Run(ctx, t.opts.Interval, t.Compact, func(err error) {
		t.log.Error("Upkeep of tenants failed; it is tried again.", "err", err)
	})
}

// MaxLead is how far ahead of the clock the samples taken in should be at most:
// a quarter of the block duration. A head refuses what is more than half of it
// older than its newest sample, so those that come in time are taken, beside
// samples with this lead, as long as they are no more than another quarter late.
func (t *Tenants) MaxLead() time.Duration { return t.opts.BlockDuration / 4 }

// Compact is one pass of Run over all tenants: full chunks move from memory to
// mapped files; where the samples in memory span more than one and a half block
// durations, the oldest become a block, and so on; blocks that may go are deleted; tenants that are idle are closed (see TenantsOptions.IdleAfter); and
// tenants that are not available are opened again, though not those that OpenAll
// has yet to open. It returns what
// went wrong, naming the tenants; the others are done all the same.
//
// One pass cuts at most eight blocks of a tenant, or more if Interval is longer
// than a few BlockDurations, and leaves the rest to the next: samples that lie
// far apart make a block each.
//
// Cutting a block waits for the queriers that read its time range, so a querier
// that is never closed holds the pass up.
func (t *Tenants) Compact(ctx context.Context) error {
	slots, err := t.all()
	if err != nil {
		return err
	}
	return t.each(slots, func(s *slot) error {
		if err := s.pass(ctx); err != nil {
			t.metrics.passesFailed.Inc()
			return err
		}
		return nil
	})
}

// Flush cuts everything that the heads hold in memory into blocks, each within
// one multiple of the block duration, so that a shipper can upload all there
// is. Tenants are independent: the error names those that failed, whose samples
// stay in their write-ahead logs, and the others are flushed.
//
// A tenant's writers wait while it is flushed, and writing goes on afterwards
// with samples later than those that were flushed; earlier ones are refused as
// out of bounds unless the out-of-order window takes them.
func (t *Tenants) Flush(ctx context.Context) error {
	slots, err := t.all()
	if err != nil {
		return err
	}
	return t.each(slots, func(s *slot) error { return s.flush(ctx) })
}
