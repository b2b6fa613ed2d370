package storeapi

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/varve-tsdb/varve/internal/every"
)

// lastSync is how a Sync went.
type lastSync struct {
	at  time.Time
	err error
}

// LastSync returns when the server was asked last what it holds, by Sync or for a read,
// and what it failed with. The zero time is never.
func (c *Client) LastSync() (at time.Time, err error) {
	if last := c.last.Load(); last != nil {
		return last.at, last.err
	}
	return time.Time{}, nil
}

// Run calls Sync at once and then every SyncInterval until ctx ends, and then returns
// nil. It logs what has changed: that the server answers, or fails in a new way.
// Without it the Client asks the server once, when it first needs to know, and
// Streams goes by that.
func (c *Client) Run(ctx context.Context) error {
	failing := "" // as it was logged
	answers := false
	sync := func(ctx context.Context) error {
		err := c.Sync(ctx)
		if err == nil && !answers {
			c.opts.Logger.Info("a store says what it holds", "store", c.opts.Name, "component", c.Component(), "streams", len(c.known.Load().held))
			answers, failing = true, ""
		}
		return err
	}
	return every.Run(ctx, c.opts.SyncInterval, sync, func(err error) {
		level := slog.LevelDebug
		if text := err.Error(); text != failing {
			level, failing = slog.LevelWarn, text
		}
		answers = false
		c.opts.Logger.Log(ctx, level, "a store does not say what it holds, going on with what is known of it", "store", c.opts.Name, "err", err)
	})
}

// Sync asks the server what it holds, after whoever asks it now.
func (c *Client) Sync(ctx context.Context) error {
	for {
		current, mine := c.asking.join()
		if mine {
			return c.lead(ctx, current)
		}
		if err := current.wait(ctx); err != nil {
			return err
		}
	}
}

// lead asks on behalf of all who wait for the attempt.
func (c *Client) lead(ctx context.Context, a *attempt) error {
	err := c.sync(ctx)
	c.asking.end(a, err, err != nil && ctx.Err() != nil)
	return err
}

func (c *Client) sync(ctx context.Context) (err error) {
	began := time.Now()
	asking, cancel := context.WithTimeout(ctx, c.opts.SyncTimeout)
	defer cancel()
	defer func() {
		if err == nil || ctx.Err() == nil {
			c.last.Store(&lastSync{began, err})
		}
	}()
	return c.ask(asking)
}

func (c *Client) ask(ctx context.Context) error {
	body, err := c.call(ctx, infoMethod, nil)
	if err != nil {
		return err
	}
	i, err := decodeInfo(body)
	if err != nil {
		return c.nonsense(infoMethod, err)
	}
	i.held = streamsOf(i)
	c.known.Store(i)
	return nil
}

// info returns what is known of the server. It asks if that is nothing, once for all
// who want to know at the same time, and they share what comes of it.
func (c *Client) info(ctx context.Context) (*info, error) {
	for {
		if i := c.known.Load(); i != nil {
			return i, nil
		}
		current, mine := c.asking.join()
		if mine {
			if err := c.lead(ctx, current); err != nil {
				return nil, err
			}
			continue
		}
		if err := current.wait(ctx); err != nil {
			return nil, err
		}
		if current.err != nil && !current.left {
			return nil, current.err
		}
	}
}

// attempt is one question what a server holds.
type attempt struct {
	done chan struct{}
	err  error // this and the next are there once done is closed
	left bool  // it failed because who asked gave up, which says nothing to others
}

// wait until it is over. The error is that of ctx.
func (a *attempt) wait(ctx context.Context) error {
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for what the store holds: %w", ctx.Err())
	}
}

// attempts lets one be under way at a time.
type attempts struct {
	mu      sync.Mutex
	current *attempt // nil if there is none
}

// join returns the attempt that is under way, or a new one of the caller's, who has to
// end it.
func (a *attempts) join() (current *attempt, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil {
		return a.current, false
	}
	a.current = &attempt{done: make(chan struct{})}
	return a.current, true
}

func (a *attempts) end(current *attempt, err error, left bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	current.err, current.left = err, left
	close(current.done)
	a.current = nil
}
