package readcost

import (
	"context"
	"runtime"
)

// processors is how many goroutines of one read may compute at a time: all but
// one of the processors, which is left to others. A read of many blocks has
// hundreds of goroutines; were all of them ready to run, those of small reads
// would line up behind them at each step.
func processors() int { return max(runtime.GOMAXPROCS(0)-1, 1) }

// Begin waits until a goroutine of the read may compute for a while: decode,
// check or sort what was fetched. End follows, before it waits for anything else;
// it must not begin twice. The error is that of ctx.
func (c *Cost) Begin(ctx context.Context) error {
	if c == nil {
		return nil
	}
	select {
	case c.computing <- struct{}{}:
		return nil
	default:
	}
	select {
	case c.computing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// End says that a goroutine has computed for now.
func (c *Cost) End() {
	if c != nil {
		<-c.computing
	}
}

// Pace is for loops of many small steps, so that others that are ready to run do
// not wait for the scheduler to end the turn of a large read.
type Pace struct{ steps uint }

// paceSteps are few enough to take a fraction of a millisecond.
const paceSteps = 64

// Step lets others run now and then.
func (p *Pace) Step() {
	if p.steps++; p.steps%paceSteps == 0 {
		runtime.Gosched()
	}
}
