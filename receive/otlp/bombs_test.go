package otlp

import (
	"bytes"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/receive"
)

// nested wraps a value in n arrays, field by field up to a whole request.
func nested(n int) []byte {
	// Built from the inside; each level is a value (5) that is an array (1).
	reversed := make([]byte, 0, 16*n)
	size := 0
	put := func(num protowire.Number) {
		var head []byte
		head = protowire.AppendTag(head, num, protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(size))
		for i := len(head) - 1; i >= 0; i-- {
			reversed = append(reversed, head[i])
		}
		size += len(head)
	}
	for range n {
		put(1)
		put(5)
	}
	put(2) // KeyValue.value
	put(1) // Resource.attributes
	put(1) // ResourceMetrics.resource
	put(1) // request.resource_metrics
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	return reversed
}

// A body of a few megabytes can nest deeper than a goroutine's stack is.
func TestNestedValuesAreRefused(t *testing.T) {
	h := newTestHandler(t, &recorder{}, Options{})
	post(t, h, nested(20), "Content-Type", protoType).stored(t)
	for name, tc := range map[string]struct {
		body []byte
		typ  string
	}{
		"protobuf": {nested(500_000), protoType},
		"JSON":     {[]byte(strings.Repeat(`{"resourceMetrics":[`, 1_000_000)), jsonType},
		// The decoder cuts field numbers to 32 bits.
		"hidden field": {append([]byte{0x8a, 0x80, 0x80, 0x80, 0x80, 0x01, 0}, nested(500_000)...), protoType},
	} {
		if a := post(t, h, tc.body, "Content-Type", tc.typ); a.status != http.StatusBadRequest {
			t.Errorf("%s: answer %d", name, a.status)
		}
	}
}

// What is small on the wire and large in memory is refused before it is there.
func TestBombsTakeBoundedMemory(t *testing.T) {
	const limit = 2 << 20
	empties := bytes.Repeat([]byte{0x0a, 0x00}, limit/2-1) // empty ResourceMetrics
	for name, tc := range map[string]struct {
		body     []byte
		typ      string
		encoding string
		status   int
	}{
		"gzip":             {zip(t, make([]byte, 20*limit)), protoType, "gzip", http.StatusRequestEntityTooLarge},
		"decoded":          {make([]byte, limit+1), protoType, "", http.StatusRequestEntityTooLarge},
		"empty messages":   {zip(t, empties), protoType, "gzip", http.StatusRequestEntityTooLarge},
		"empty objects":    {zip(t, []byte(`{"resourceMetrics":[`+strings.Repeat(`{},`, limit/3-100)+`{}]}`)), jsonType, "gzip", http.StatusRequestEntityTooLarge},
		"empty attributes": {zip(t, wrap(bytes.Repeat([]byte{0x0a, 0x00}, limit/2-100), 1, 1)), protoType, "gzip", http.StatusRequestEntityTooLarge},
	} {
		h := newHandlerOn(t, &recorder{}, receive.HandlerOptions{MaxDecodedBytes: limit}, Options{})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		a := post(t, h, tc.body, "Content-Type", tc.typ, "Content-Encoding", tc.encoding)
		runtime.ReadMemStats(&after)
		if a.status != tc.status {
			t.Errorf("%s: answer %d, want %d: %s", name, a.status, tc.status, a.text)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 16*limit {
			t.Errorf("%s: took %d MiB", name, took>>20)
		}
	}
}

// wrap puts body into messages, the innermost first.
func wrap(body []byte, nums ...protowire.Number) []byte {
	for _, num := range nums {
		body = appendBytes(nil, num, body)
	}
	return body
}

// The translator makes a target_info every two and a half minutes.
func TestTargetInfoOverDecades(t *testing.T) {
	var to recorder
	md, ms := newRequest()
	md.ResourceMetrics().At(0).Resource().Attributes().PutStr("host.name", "h")
	gauge(ms, "a", 1, 1_000_000)
	gauge(ms, "b", 1, second)
	other, ms := newRequest()
	other.ResourceMetrics().At(0).Resource().Attributes().PutStr("host.name", "other")
	gauge(ms, "c", 1, second)
	gauge(ms, "d", 1, at(10*time.Minute))
	other.ResourceMetrics().MoveAndAppendTo(md.ResourceMetrics())
	send(t, newTestHandler(t, &to, Options{}), md).stored(t)
	count := map[string]int{}
	for _, s := range to.stored {
		if strings.Contains(s.series, "target_info") {
			count[s.series]++
		}
	}
	if n := count[`{__name__="target_info", host_name="h", job="svc"}`]; n != 2 {
		t.Errorf("%d samples of target_info over decades, want the first and the last", n)
	}
	if n := count[`{__name__="target_info", host_name="other", job="svc"}`]; n != 5 {
		t.Errorf("%d samples of target_info over ten minutes, want 5", n)
	}
}

// A resource's attributes are copied to each of its series.
func TestPromotedAttributesAreWithinBudget(t *testing.T) {
	var to recorder
	h := newHandlerOn(t, &to, receive.HandlerOptions{MaxDecodedBytes: 1 << 20}, Options{PromoteAllResourceAttributes: true})
	md, ms := newRequest()
	md.ResourceMetrics().At(0).Resource().Attributes().PutStr("large", strings.Repeat("x", 32<<10))
	const points = 1000
	for i := range points {
		gauge(ms, "m", 1, at(time.Duration(i)*time.Second))
	}
	a := send(t, h, md)
	if a.status != http.StatusOK || int(a.rejected)+len(to.stored) != points || a.rejected < points/2 || !strings.Contains(a.text, "labels_too_long") {
		t.Errorf("answer %d, %d rejected, %d stored: %s", a.status, a.rejected, len(to.stored), a.text)
	}
}

// Attributes that would become the metric's name never do, nor do they make the
// translator write to the process' log.
func TestAttributesCannotBeTheMetricsName(t *testing.T) {
	var to recorder
	md, ms := newRequest()
	gauge(ms, "real", 1, second).Attributes().PutStr(".-name..", "false")
	gauge(ms, "real2", 1, second).Attributes().PutStr("__name__", "false")
	md.ResourceMetrics().At(0).Resource().Attributes().PutStr("__name__", "false")
	send(t, newTestHandler(t, &to, Options{PromoteAllResourceAttributes: true}), md).stored(t)
	for _, s := range to.lines() {
		if strings.Contains(s, "false") {
			t.Errorf("stored %s", s)
		}
	}
}
