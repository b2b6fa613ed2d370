package query

import (
	"context"
	"sync"
)

// call is one that a source was asked on a goroutine of its own.
type call struct {
	done    <-chan struct{}
	request context.Context // on whose behalf it is
}

// ended tells whether the call is over.
func (c call) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// callList is the calls into one querier of a source, which cannot be closed before
// they have returned. A source that ignores its context may never.
type callList struct {
	mu        sync.Mutex // guards what follows
	list      []call
	abandoned bool // nobody wants to know what comes of those that still run
}

func (l *callList) add(c call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, c)
}

// abandon notes that who asked has given up.
func (l *callList) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abandoned = true
}

func (l *callList) all() (list []call, abandoned bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list, l.abandoned
}

// end waits until all calls are over. It returns false without waiting for those that
// were given up or whose request has ended, and for no call longer than patience
// lasts.
func (l *callList) end(patience context.Context) bool {
	list, abandoned := l.all()
	for _, c := range list {
		if c.ended() {
			continue
		}
		if abandoned {
			return false
		}
		select {
		case <-c.done:
		case <-c.request.Done():
			return false
		case <-patience.Done():
			return false
		}
	}
	return true
}

// wait until all calls are over, however long it takes.
func (l *callList) wait() {
	list, _ := l.all()
	for _, c := range list {
		<-c.done
	}
}
