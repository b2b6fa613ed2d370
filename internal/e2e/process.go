package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// process is a running program. Its output goes to a file, which is shown if
// the test fails.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// start runs a program until the test ends or the program is stopped.
func start(t *testing.T, name, binary string, args ...string) *process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{name: name, cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
		log.Close()
		if t.Failed() {
			t.Logf("the end of what %s said:\n%s", name, tail(log.Name(), 6000))
		}
	})
	return p
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends the program as a power cut would.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// terminate asks the program to end and returns what it ended with.
func (p *process) terminate(t *testing.T, within time.Duration) error {
	t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(within):
		t.Fatalf("%s did not end within %v of SIGTERM", p.name, within)
		return nil
	}
}

// ready waits until url answers 200.
func (p *process) ready(t *testing.T, url string) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		select {
		case <-p.done:
			t.Fatalf("%s ended before it was ready: %v", p.name, p.err)
		default:
		}
		res, err := http.Get(url)
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, res.Status)
		}
		return nil
	})
}

// eventually repeats attempt until it succeeds, and fails the test with its
// last error if that takes too long.
func eventually(t *testing.T, within time.Duration, attempt func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := attempt()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", within, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// nextPort is where freeAddress looks next. It is below the ports that the system
// gives to outgoing connections, one of which could have taken the port before the
// server that it is for; where the search begins is left to chance, for the sake of
// other runs on the machine.
var nextPort = func() *atomic.Int32 {
	var p atomic.Int32
	p.Store(int32(15_000 + rand.IntN(10_000)))
	return &p
}()

// freeAddress returns a loopback address that nobody listens on, another each
// time.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", nextPort.Add(1)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal("no port is free")
	return ""
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func tail(name string, n int64) string {
	f, err := os.Open(name)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if size, err := f.Seek(0, 2); err == nil && size > n {
		_, _ = f.Seek(-n, 2)
	} else {
		_, _ = f.Seek(0, 0)
	}
	text := make([]byte, n)
	read, err := f.Read(text)
	if err != nil && !errors.Is(err, os.ErrClosed) && read == 0 {
		return err.Error()
	}
	return string(text[:read])
}
