package receive

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"

	"github.com/golang/snappy"
	"pgregory.net/rapid"
)

// Nothing that snappy makes is taken for a bomb, however well it packs.
func TestDecompressTakesAllOfSnappy(t *testing.T) {
	for _, size := range []int{0, 1, 63, 64, 65, 1000, 1 << 16, 1<<16 + 1, 1 << 20, 5_000_001} {
		in := make([]byte, size)
		out, err := decompress(snappy.Encode(nil, in), nil, -1, anyRoom)
		if err != nil || !bytes.Equal(out, in) {
			t.Errorf("%d zeroes: %v", size, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := bytes.Repeat(rapid.SliceOf(rapid.Byte()).Draw(t, "data"), rapid.IntRange(1, 300).Draw(t, "times"))
		out, err := decompress(snappy.Encode(nil, in), make([]byte, 0, 100), int64(len(in)), anyRoom)
		if err != nil || !bytes.Equal(out, in) {
			t.Fatalf("%d bytes: %v", len(in), err)
		}
	})
}

func anyRoom(buf []byte, _ int) ([]byte, *requestError) { return buf, nil }

// A claim costs no memory.
func TestDecompressBombsAllocateNothing(t *testing.T) {
	// Claims 3.9 GiB with a few bytes behind it, with and without a bound.
	bomb := append([]byte{0xff, 0xff, 0xff, 0xff, 0x0e}, "some bytes"...)
	for _, limit := range []int64{64 << 20, -1} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decompress(bomb, nil, limit, anyRoom)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > 1<<20 {
			t.Errorf("limit %d: error %v, %d bytes taken for a bomb", limit, err, took)
		}
	}
}

// A Content-Length costs no memory before its bytes arrive.
func TestRequestBodyBelievesNoLength(t *testing.T) {
	for said := range map[int64]bool{-1: true, 0: true, 10: true, 1000: true, 30 << 20: true} {
		for _, size := range []int{0, 1, 1000, 1 << 18} {
			in := make([]byte, size)
			for i := range in {
				in[i] = byte(rand.Uint32())
			}
			req := httptest.NewRequest("POST", "/", io.NopCloser(bytes.NewReader(in)))
			req.ContentLength = said
			load, a := newOverload(), &admission{global: GlobalLimits{}.resolved()}
			if err := load.admit(a, said); err != nil {
				t.Fatal(err)
			}
			pool := &sync.Pool{New: func() any { return new(bodyBuffer) }}
			err := a.readBody(httptest.NewRecorder(), req, 32<<20, pool)
			out := a.buffer.b
			if used := load.usage().bytes; used != max(int64(cap(out)), 0) {
				t.Errorf("%d bytes are accounted for a body that takes %d", used, cap(out))
			}
			if err != nil || !bytes.Equal(out, in) {
				t.Fatalf("%d bytes said to be %d: %v", size, said, err)
			}
			if cap(out) > 4*size+firstRead+1024 {
				t.Errorf("%d bytes said to be %d take %d", size, said, cap(out))
			}
		}
	}
}
