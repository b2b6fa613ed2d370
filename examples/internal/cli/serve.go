package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// grace is how long requests under way may take when the process ends. An
// orchestrator kills it after 30 seconds by default, and what is in memory has
// to be saved before.
const grace = 20 * time.Second

// Serve answers requests on l until ctx is done. Then it refuses new ones, and
// returns when those under way are answered; after a grace of 20 seconds it
// closes their connections, which is no error.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := server.Shutdown(last)
	if errors.Is(err, context.DeadlineExceeded) {
		log.Warn("closing the connections of requests that are still under way", "grace", grace)
		err = server.Close()
	}
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		return errors.Join(err, served)
	}
	return err
}

// Listen listens on what --http-address says.
func Listen(address string) (net.Listener, error) { return ListenOn("http-address", address) }

// ListenOn listens on what a flag says.
func ListenOn(flag, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--%s %s: %w; choose another, as host:port", flag, address, err)
	}
	return l, nil
}

// Reachable is an address by which a client on this machine finds who listens
// on address: of all addresses, which none can be called, the loopback.
func Reachable(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsUnspecified() {
		return address.String()
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// Blocks words a number of blocks as a subject with its verb.
func Blocks(n int) string {
	if n == 1 {
		return "1 block is"
	}
	return fmt.Sprintf("%d blocks are", n)
}

// Text answers with a text.
func Text(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

// Interrupted returns a context that ends with the first SIGINT or SIGTERM. A
// second one that comes at least a second later ends the process at once;
// sooner it is taken for the same, sent to the process and to its group.
func Interrupted() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		time.Sleep(time.Second)
		stop()
	})
	return ctx
}

// Try does something that may fail without harm, and logs that it did.
func Try(ctx context.Context, within time.Duration, what string, do func(context.Context) error, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := do(ctx); err != nil {
		log.Warn("could not "+what+", trying again later", "err", err)
	}
}

// Registry returns a registry with the metrics of the process.
func Registry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}
