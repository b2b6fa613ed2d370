package receive

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
)

// shortTimeout is a BodyTimeout for tests in which bodies stall. It is as long as
// a machine that is busy needs for what does not.
const shortTimeout = 300 * time.Millisecond

// dialServer opens a connection and sends a header and part of a body.
func dialServer(t *testing.T, server *httptest.Server, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

const postHeader = "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: snappy\r\n"

// A body that stalls, whatever it said it was, ends in an answer that has it sent
// again, and the end of the connection. The same holds for requests that are
// refused unread, since the server reads their body before it answers.
func TestStalledBodiesEnd(t *testing.T) {
	h := newTestHandler(t, newFakeStorage(), HandlerOptions{BodyTimeout: shortTimeout})
	server := httptest.NewServer(h)
	defer server.Close()
	for name, text := range map[string]string{
		"503 of nothing of a length": postHeader + "Content-Length: 30000000\r\n\r\n",
		"503 part of a length":       postHeader + "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 5000),
		"503 an open chunk":          postHeader + "Transfer-Encoding: chunked\r\n\r\n10\r\nxxxx",
		"503 chunks without an end":  postHeader + "Transfer-Encoding: chunked\r\n\r\n4\r\nxxxx\r\n",
		"415 refused unread":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: zstd\r\nContent-Length: 1000\r\n\r\nx",
	} {
		conn := dialServer(t, server, text)
		from := bufio.NewReader(conn)
		res, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Errorf("%s: no answer: %v", name, err)
			continue
		}
		body, _ := io.ReadAll(res.Body)
		if got := fmt.Sprint(res.StatusCode); got != name[:3] || got == "503" && res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: status %s, Retry-After %q: %s", name, got, res.Header.Get("Retry-After"), body)
		}
		if _, err := from.ReadByte(); err != io.EOF {
			t.Errorf("%s: the connection is still open (%v)", name, err)
		}
	}
	if used := h.load.usage(); used != (overloadUsage{}) {
		t.Errorf("%+v is accounted in the end", used)
	}
}

// Once the body is there the time for it does not matter: a storage may take
// longer, and the connection can be used again.
func TestBodyTimeoutEndsWithTheBody(t *testing.T) {
	to := newBlockingStorage()
	server := httptest.NewServer(newTestHandler(t, to, HandlerOptions{BodyTimeout: shortTimeout}))
	defer server.Close()
	time.AfterFunc(2*shortTimeout, func() { close(to.open) })
	body, _ := v1(v1Series(named("m"), nowMs())).Marshal()
	packed := string(snappy.Encode(nil, body))
	text := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", postHeader, len(packed), packed)
	conn := dialServer(t, server, text)
	from := bufio.NewReader(conn)
	for range 2 {
		res, err := http.ReadResponse(from, nil)
		if err != nil || res.StatusCode != http.StatusNoContent {
			t.Fatalf("a slow storage: %v, %v", res, err)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
}

// A thousand connections whose bodies do not come cost what connections cost,
// not what they say they will send: within a bound that is far below one
// buffer each, and next to nothing of the budget.
func TestSlowBodiesCostLittle(t *testing.T) {
	const (
		connections = 1000
		most        = 64 << 10 // bytes of heap and stack, the tests' own end included
	)
	h := newTestHandler(t, newFakeStorage(), HandlerOptions{BodyTimeout: time.Minute})
	var arrived sync.WaitGroup
	arrived.Add(connections)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Done()
		h.ServeHTTP(w, r)
	}))
	defer server.Close()
	memory := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	before := memory()
	conns := make([]net.Conn, connections)
	for i := range conns {
		text := postHeader + "Content-Length: 100000\r\n\r\n"
		if i%2 == 0 {
			text = postHeader + "Transfer-Encoding: chunked\r\n\r\n"
		}
		if i%10 == 1 {
			text += "some bytes"
		}
		conns[i] = dialServer(t, server, text)
	}
	arrived.Wait()
	for tries := 0; h.load.usage().requests < connections && tries < 1000; tries++ {
		time.Sleep(10 * time.Millisecond)
	}
	took := memory() - before
	used := h.load.usage()
	t.Logf("%d connections take %d bytes each; %d are let in with %d bytes accounted", connections, took/connections, used.requests, used.bytes)
	if took > connections*most {
		t.Errorf("%d connections with slow bodies take %d bytes each", connections, took/connections)
	}
	if limit := int64(defaultInFlightBytes); used.requests != connections || used.bytes > limit/4 {
		t.Errorf("%d are let in with %d bytes accounted of %d: others are kept out", used.requests, used.bytes, limit)
	}
	req, _ := overloadRequest(0, 10)
	wantAnswer(t, req.deliver(h), http.StatusNoContent)
	for _, conn := range conns {
		_ = conn.Close()
	}
}

// Bodies that decompress to a thousand times their size and are valid take no
// more memory together than the budget has.
func TestSnappyBombsStayWithinTheBudget(t *testing.T) {
	const budget = 40 << 20
	h := newTestHandler(t, newFakeStorage(), HandlerOptions{Limits: func() *LimitSet {
		return &LimitSet{Global: GlobalLimits{InFlightBytes: budget, Concurrency: -1}}
	}})
	bomb := rwRequest{raw: snappy.Encode(nil, make([]byte, 30<<20))}
	var most int64
	stop := make(chan struct{})
	var watch, senders sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				most = max(most, h.load.usage().bytes)
				runtime.Gosched()
			}
		}
	})
	for range 8 {
		senders.Go(func() {
			for range 4 {
				// Zeroes are no protobuf.
				if rec := bomb.deliver(h); rec.Code != http.StatusBadRequest && rec.Code != http.StatusServiceUnavailable {
					t.Errorf("status %d: %s", rec.Code, rec.Body)
				}
			}
		})
	}
	senders.Wait()
	close(stop)
	watch.Wait()
	if most > budget || h.load.usage() != (overloadUsage{}) {
		t.Errorf("%d bytes were accounted of a budget of %d, %+v in the end", most, budget, h.load.usage())
	}
}
