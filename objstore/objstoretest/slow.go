package objstoretest

import (
	"context"
	"io"
	"time"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// SlowOptions say how far away a bucket seems to be. Zero is no delay.
type SlowOptions struct {
	// FirstByte is the time that passes before an operation begins to answer.
	FirstByte time.Duration
	// BytesPerSecond is how fast the body of one read comes. Reads do not share
	// it: object storage serves each connection at its own pace.
	BytesPerSecond int64
}

// NewSlow returns b as it would be behind a network.
func NewSlow(b objstore.Bucket, opts SlowOptions) objstore.Bucket {
	return &around.Bucket{Bucket: b, Start: func(ctx context.Context, _ around.Call) (around.Pass, error) {
		if err := around.Pause(ctx, opts.FirstByte); err != nil {
			return nil, err
		}
		return slowPass{ctx: ctx, opts: opts}, nil
	}}
}

type slowPass struct {
	around.Plain
	ctx  context.Context
	opts SlowOptions
}

func (p slowPass) Body(rc io.ReadCloser) io.ReadCloser {
	if p.opts.BytesPerSecond <= 0 {
		return rc
	}
	began, n := time.Now(), int64(0)
	return around.TapBody(rc, func(read int, err error) error {
		n += int64(read)
		due := time.Duration(float64(n) / float64(p.opts.BytesPerSecond) * float64(time.Second))
		// A timer fires up to a millisecond late; what is missed is made up for
		// by the next read, since the clock runs from the beginning.
		if ahead := due - time.Since(began); ahead > time.Millisecond {
			if paused := around.Pause(p.ctx, ahead); paused != nil {
				return paused
			}
		}
		return err
	}, nil)
}
