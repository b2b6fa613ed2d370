package receive

import (
	"context"
	"errors"
	"sync"
)

// errGateShut is what enter returns once a gate has been shut for good.
var errGateShut = errors.New("shut")

// gate counts the users of something, so that it can be closed or rearranged
// when nobody is using it. The zero value is open.
type gate struct {
	mu     sync.Mutex
	users  int
	paused chan struct{} // not nil: newcomers wait until it is closed
	empty  chan struct{} // not nil: closed when the last user leaves
	shut   bool
}

// enter adds a user, who has to leave. It waits while the gate is paused, and
// returns errGateShut or the error of ctx if it cannot enter.
func (g *gate) enter(ctx context.Context) error {
	for {
		g.mu.Lock()
		if g.shut {
			g.mu.Unlock()
			return errGateShut
		}
		if g.paused == nil {
			g.users++
			g.mu.Unlock()
			return nil
		}
		paused := g.paused
		g.mu.Unlock()
		select {
		case <-paused:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users--
	if g.users == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// pause lets nobody in any more and returns when everybody has left. After an
// error, which is that of ctx, the gate is open again. Only one caller may hold
// the gate paused, until it calls resume or shutdown.
func (g *gate) pause(ctx context.Context) error {
	g.mu.Lock()
	g.paused = make(chan struct{})
	g.mu.Unlock()
	err := g.wait(ctx)
	if err != nil {
		g.resume()
	}
	return err
}

// pauseIfEmpty is pause if nobody is inside, and otherwise does nothing.
func (g *gate) pauseIfEmpty() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users > 0 {
		return false
	}
	g.paused = make(chan struct{})
	return true
}

// wait returns when everybody has left a gate that lets nobody in, or with the
// error of ctx. Only one caller may wait.
func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	if g.users == 0 {
		g.mu.Unlock()
		return nil
	}
	empty := make(chan struct{})
	g.empty = empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// resume opens a paused gate.
func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.paused)
	g.paused, g.empty = nil, nil
}

// shutdown turns newcomers and those who wait away for good.
func (g *gate) shutdown() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	if g.paused != nil {
		close(g.paused)
		g.paused = nil
	}
}
