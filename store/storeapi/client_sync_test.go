package storeapi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
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
