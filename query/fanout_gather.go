package query

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/readopts"
)

// gather starts a call for each source, all side by side, and waits for them.
// Sources that fail are left out of the answers, with a warning each, if the
// read may be partial; otherwise the first failure ends it.
func gather[T any](
	ctx context.Context, sources []asked, mint, maxt int64, timeout time.Duration,
	start func(context.Context, asked) *running[T],
) (answers []T, warnings annotations.Annotations, err error) {
	request, partial := ctx, readopts.From(ctx).Partial
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if timeout > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, errSourceTimeout)
		defer cancel()
	}
	calls := make([]*running[T], len(sources))
	for i, a := range sources {
		calls[i] = start(ctx, a)
	}
	defer func() {
		if err != nil {
			abandon(sources)
		}
	}()
	for i, a := range sources {
		if calls[i].wait(ctx) {
			err = calls[i].err
		} else {
			a.calls.abandon()
			err = sourceFailure(ctx, nil, timeout)
		}
		switch {
		case err == nil:
			answers = append(answers, calls[i].value)
		case request.Err() != nil:
			return nil, nil, fmt.Errorf("source %s: %w", a.name, request.Err())
		case partial && !isRefusal(err):
			warnings.Add(a.failure(sourceFailure(ctx, err, timeout), mint, maxt))
		default:
			return nil, nil, a.failure(sourceFailure(ctx, err, timeout), mint, maxt)
		}
	}
	return answers, warnings, nil
}

// abandon notes that the calls of the sources that still run were given up.
func abandon(sources []asked) {
	for _, a := range sources {
		a.calls.abandon()
	}
}
