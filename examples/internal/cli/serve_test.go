package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network in memory, so that the clock of a test can run ahead.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Requests that end soon are answered. A sender that dribbles gets no more than
// the grace, however much it has to say.
func TestServeEndsInGoodOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		mux.HandleFunc("/soon", func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(10 * time.Second)
			_, _ = io.WriteString(w, "answered")
		})
		dribbled := make(chan error, 1)
		mux.HandleFunc("/dribble", func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			dribbled <- err
		})
		l := newPipes()
		var logged bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- Serve(ctx, l, mux, slog.New(slog.NewTextHandler(&logged, nil))) }()

		client := &http.Client{Transport: &http.Transport{DialContext: l.dial}}
		defer client.CloseIdleConnections()
		body, dribble := io.Pipe()
		silent := make(chan struct{})
		go func() {
			defer close(silent)
			for range 600 {
				if _, err := dribble.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
			_ = dribble.Close()
		}()
		broken := make(chan error, 1)
		go func() {
			resp, err := client.Post("http://varve/dribble", "text/plain", body)
			if err == nil {
				err = resp.Body.Close()
			}
			broken <- err
		}()
		answer := make(chan string, 1)
		go func() {
			resp, err := client.Get("http://varve/soon")
			if err != nil {
				answer <- err.Error()
				return
			}
			content, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			answer <- string(content)
		}()
		synctest.Wait()
		cancel()
		if got := <-answer; got != "answered" {
			t.Errorf("the request that was under way got %q", got)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := <-broken; err == nil {
			t.Error("the dribbling request was answered")
		}
		if err := <-dribbled; err == nil {
			t.Error("the dribbling body ended well")
		}
		<-silent
		if !strings.Contains(logged.String(), "grace=20s") {
			t.Errorf("nothing is said of closed connections: %s", logged.String())
		}
	})
}

func TestServeWithNothingToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var logged bytes.Buffer
		if err := Serve(ctx, newPipes(), http.NotFoundHandler(), slog.New(slog.NewTextHandler(&logged, nil))); err != nil {
			t.Error(err)
		}
		if logged.Len() > 0 {
			t.Errorf("logged %s", logged.String())
		}
	})
}

func TestReachable(t *testing.T) {
	for listening, want := range map[string]string{
		"0.0.0.0:80": "127.0.0.1:80", "[::]:80": "127.0.0.1:80", "192.0.2.1:80": "192.0.2.1:80", "[2001:db8::1]:80": "[2001:db8::1]:80",
	} {
		address, err := net.ResolveTCPAddr("tcp", listening)
		if err != nil {
			t.Fatal(err)
		}
		if got := Reachable(address); got != want {
			t.Errorf("who listens on %s is announced at %s, want %s", listening, got, want)
		}
	}
}

func TestBlocks(t *testing.T) {
	for n, want := range map[int]string{0: "0 blocks are", 1: "1 block is", 2: "2 blocks are"} {
		if got := Blocks(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
