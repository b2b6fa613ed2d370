package storeapi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// moody is a connection to a server whose answers a test decides on.
type moody struct {
	grpc.ClientConnInterface
	info []byte

	mu    sync.Mutex
	err   error
	asked int
}

func (m *moody) Invoke(_ context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	reply.(*received).body = m.info
	return m.err
}

// becomes has the server answer so, and waits until it was asked several times.
func (m *moody) becomes(err error) {
	m.mu.Lock()
	m.err = err
	until := m.asked + 4
	m.mu.Unlock()
	for {
		m.mu.Lock()
		done := m.asked >= until
		m.mu.Unlock()
		if done {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// A server that is away for a day costs a line, not one every five seconds.
func TestRunLogsWhatChanges(t *testing.T) {
	var logged bytes.Buffer
	server := &moody{info: wrote(t, "InfoResponse", someInfo), err: status.Error(codes.Unavailable, "not ready yet: it opens")}
	c := newClient(t, server, ClientOptions{Name: "there", SyncInterval: time.Millisecond, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if at, err := c.LastSync(); !at.IsZero() || err != nil {
		t.Errorf("before: %s, %v", at, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	server.becomes(status.Error(codes.Unavailable, "not ready yet: it opens"))
	if at, err := c.LastSync(); at.IsZero() || err == nil || !strings.Contains(err.Error(), "it opens") || strings.Contains(err.Error(), "is the address right") {
		t.Errorf("while it is not ready: %s, %v", at, err)
	}
	server.becomes(nil)
	if at, err := c.LastSync(); at.IsZero() || err != nil {
		t.Errorf("while it is: %s, %v", at, err)
	}
	gone := errors.New("gone")
	server.becomes(gone)
	server.becomes(nil)
	server.becomes(gone)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	var got []string
	for line := range strings.Lines(logged.String()) {
		got = append(got, line[strings.Index(line, "level="):strings.Index(line, " msg")])
	}
	if want := "level=WARN level=INFO level=WARN level=INFO level=WARN"; strings.Join(got, " ") != want {
		t.Errorf("%s\nis logged, want %s", logged.String(), want)
	}
}

// stuck is a connection to a server that does not say what it holds before a call
// gives up, and answers everything else.
type stuck struct {
	grpc.ClientConnInterface
	asked atomic.Int32
}

func (s *stuck) Invoke(ctx context.Context, method string, _, _ any, _ ...grpc.CallOption) error {
	if method != infoMethod {
		return nil
	}
	s.asked.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

// Reads that come before a server has said what it holds ask it once for all of them,
// and each waits no longer than it wants to.
func TestReadsOfAServerThatDoesNotSayWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &stuck{}
		c := newClient(t, server, ClientOptions{SyncTimeout: 5 * time.Second})
		began := time.Now()
		var all sync.WaitGroup
		ask := func(ctx context.Context, want error, takes time.Duration) {
			q, err := c.ChunkQuerier(0, 1)
			if err != nil {
				t.Error(err)
				return
			}
			if _, _, err = q.LabelNames(ctx, nil); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			if err := q.Close(); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took != takes {
				t.Errorf("a read took %s, want %s", took, takes)
			}
		}
		for range 10 {
			all.Go(func() { ask(t.Context(), nil, 5*time.Second) })
		}
		synctest.Wait()
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		all.Go(func() { ask(hasty, nil, time.Second) })
		all.Wait()
		if n := server.asked.Load(); n != 1 {
			t.Errorf("the server was asked %d times", n)
		}
	})
}

// That the one who asks gives up is no answer for those who wait for it.
func TestWhoAsksGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &stuck{}
		c := newClient(t, server, ClientOptions{SyncTimeout: 5 * time.Second})
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if err := c.Sync(hasty); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		synctest.Wait()
		began := time.Now()
		all.Go(func() {
			if _, err := c.info(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 6*time.Second {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
		})
		all.Wait()
		if n := server.asked.Load(); n != 2 {
			t.Errorf("the server was asked %d times", n)
		}
	})
}
