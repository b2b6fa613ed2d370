package receive

import (
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// allocated returns the bytes that f allocates, whether it keeps them or not.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// wantFrugal sends req and checks the answer and what it took.
func wantFrugal(t *testing.T, req rwRequest, opts HandlerOptions, most, status int, texts ...string) {
	t.Helper()
	var err error
	if req.body, err = req.message.Marshal(); err != nil {
		t.Fatal(err)
	}
	if _, ok := req.message.(*writev2.Request); ok {
		req.typ = typeV2
	}
	req.message = nil
	h := newTestHandler(t, newFakeStorage(), opts)
	took := allocated(func() { wantAnswer(t, req.deliver(h), status, texts...) })
	if took > most {
		t.Errorf("a body of %d bytes took %d bytes, want no more than %d", len(req.body), took, most)
	}
}

// A few bytes that refer to a long symbol over and over do not fill the memory.
func TestSymbolBomb(t *testing.T) {
	const n = 2000
	symbols := []string{"", "__name__", "m", "long", strings.Repeat("x", MaxLabelBytes/2), strings.Repeat("y", 2*MaxLabelBytes)}
	at := nowMs()
	opts := HandlerOptions{MaxDecodedBytes: 2 << 20}
	t.Run("series", func(t *testing.T) {
		msg := &writev2.Request{Symbols: symbols}
		for i := range n {
			msg.Timeseries = append(msg.Timeseries, writev2.TimeSeries{
				LabelsRefs: []uint32{1, 2, 3, 4, uint32(len(symbols) + i), 2}, Samples: []writev2.Sample{{Timestamp: at, Value: 1}},
			})
		}
		for range n {
			msg.Symbols = append(msg.Symbols, "l"+sprint(len(msg.Symbols)))
		}
		wantFrugal(t, rwRequest{message: msg}, opts, 32<<20, 400, "written out", "labels_too_long: 19", "send fewer samples")
	})
	t.Run("series longer than any may be", func(t *testing.T) {
		msg := &writev2.Request{Symbols: symbols}
		for range n {
			msg.Timeseries = append(msg.Timeseries, writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 3, 5}, Samples: []writev2.Sample{{Timestamp: at}}})
		}
		wantFrugal(t, rwRequest{message: msg}, opts, 4<<20, 400, "labels_too_long: 2000")
	})
	exemplars := make([]writev2.Exemplar, n)
	for i := range exemplars {
		exemplars[i] = writev2.Exemplar{LabelsRefs: []uint32{3, 4}, Timestamp: at}
	}
	t.Run("exemplars", func(t *testing.T) {
		msg := &writev2.Request{Symbols: symbols, Timeseries: []writev2.TimeSeries{
			{LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Timestamp: at}}, Exemplars: exemplars},
		}}
		wantFrugal(t, rwRequest{message: msg}, opts, 4<<20, 204)
	})
	t.Run("lone exemplars", func(t *testing.T) {
		msg := &writev2.Request{Symbols: symbols, Timeseries: []writev2.TimeSeries{{LabelsRefs: []uint32{1, 2}, Exemplars: exemplars}}}
		wantFrugal(t, rwRequest{message: msg}, opts, 4<<20, 204)
	})
}

// A series that a request gives again shares its labels with the first.
func TestSeriesGivenAgainShareLabels(t *testing.T) {
	msg := &writev2.Request{Symbols: []string{"", "__name__", "m", "long", strings.Repeat("x", 30_000)}}
	for i := range 1000 {
		msg.Timeseries = append(msg.Timeseries, writev2.TimeSeries{
			LabelsRefs: []uint32{1, 2, 3, 4}, Samples: []writev2.Sample{{Timestamp: nowMs() + 700_000 + int64(i), Value: 1}},
		})
	}
	wantFrugal(t, rwRequest{message: msg}, HandlerOptions{}, 4<<20, 400, "too_far_in_future: 1000")
}

// Only those refusals are described that the answer tells.
func TestRefusalsAreDescribedLazily(t *testing.T) {
	series := v1Series(named("m", "long", strings.Repeat("x", 30_000)))
	for i := range 5000 {
		series.Samples = append(series.Samples, prompb.Sample{Timestamp: nowMs() + 700_000 + int64(i)})
	}
	bothVersions(t, v1(series), func(t *testing.T, req rwRequest) {
		wantFrugal(t, req, HandlerOptions{}, 4<<20, 400, "too_far_in_future: 5000")
	})
	bad := writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 3, 4}, Samples: []writev2.Sample{{Timestamp: nowMs()}}}
	for range 5000 {
		bad.Exemplars = append(bad.Exemplars, writev2.Exemplar{LabelsRefs: []uint32{9}, Timestamp: nowMs()})
	}
	msg := &writev2.Request{Symbols: []string{"", "__name__", "m", "long", strings.Repeat("x", 30_000)}, Timeseries: []writev2.TimeSeries{bad}}
	wantFrugal(t, rwRequest{message: msg}, HandlerOptions{}, 4<<20, 400, "invalid_exemplar: 5000")
}
