package every

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Run calls pass at once and then every interval, spread by up to a tenth of
// it so that many loops do not beat together, until ctx is done; then it
// returns nil. A pass that fails is reported to failed (which may be nil) and
// tried again at the next interval: the loop itself never gives up. A pass
// that ends because ctx ended is no failure.
func Run(ctx context.Context, interval time.Duration, pass func(context.Context) error, failed func(error)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		err := pass(ctx)
		if err != nil && failed != nil && (ctx.Err() == nil || !errors.Is(err, ctx.Err())) {
			failed(err)
		}
		timer.Reset(interval + jitter(interval))
	}
}

func jitter(interval time.Duration) time.Duration {
	if tenth := int64(interval / 10); tenth > 0 {
		return time.Duration(rand.Int64N(tenth))
	}
	return 0
}
