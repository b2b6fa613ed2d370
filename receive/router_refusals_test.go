package receive

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// What is wrong with a series is told alike by a receiver that stores it, one that
// hands it on, and one that does both, and the others of the request are stored or
// not stored alike.
func TestRefusalsWithAndWithoutARouter(t *testing.T) {
	at := nowMs()
	symbols := []string{"", "__name__", "m", "good", "trace"}
	samples := []writev2.Sample{{Timestamp: at, Value: 1}}
	garbage := []byte{0xff}
	for _, tc := range []struct {
		name   string
		series writev2.TimeSeries
		more   []byte // of the series
		texts  []string
		stored int
	}{
		{"help out of range", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Samples: samples, Metadata: writev2.Metadata{HelpRef: 5}}, nil, []string{"invalid_symbol_reference: 1", "help of its metadata"}, 1},
		{"unit out of range", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Samples: samples, Metadata: writev2.Metadata{UnitRef: 77}}, nil, []string{"invalid_symbol_reference: 1", "unit of its metadata"}, 1},
		{"bad metadata, and no samples", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Metadata: writev2.Metadata{UnitRef: 77}}, nil, []string{"no_samples: 1"}, 1},
		{"bad metadata, and bad labels", writev2.TimeSeries{LabelsRefs: []uint32{2, 2}, Samples: samples, Metadata: writev2.Metadata{UnitRef: 77}}, nil, []string{"missing_metric_name: 1"}, 1},
		{"bad labels, and a malformed exemplar", writev2.TimeSeries{LabelsRefs: []uint32{2, 2}, Samples: samples}, malformedIn(4, garbage), []string{"missing_metric_name: 1"}, 1},
		{"bad labels, and a malformed histogram", writev2.TimeSeries{LabelsRefs: []uint32{2, 2}, Samples: samples}, malformedIn(3, garbage), []string{"nothing of this request is stored"}, 0},
		{"bad labels, and an exemplar with bad references", writev2.TimeSeries{LabelsRefs: []uint32{2, 2}, Samples: samples, Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{4, 9}}}}, nil, []string{"missing_metric_name: 1"}, 1},
		{"a malformed exemplar", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Samples: samples}, malformedIn(4, garbage), []string{"nothing of this request is stored"}, 0},
		{"an exemplar with bad references", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Samples: samples, Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{4, 9}, Timestamp: at}}}, nil, []string{"invalid_exemplar: 1"}, 2},
		{"only an exemplar with bad references", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{4, 9}, Timestamp: at}}}, nil, []string{"invalid_exemplar: 1"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			good := writev2.TimeSeries{LabelsRefs: []uint32{1, 3}, Samples: samples}
			body, err := (&writev2.Request{Symbols: symbols, Timeseries: []writev2.TimeSeries{good}}).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			series, err := tc.series.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			body = protowire.AppendTag(body, 5, protowire.BytesType)
			body = protowire.AppendBytes(body, append(series, tc.more...))
			var want string
			for _, where := range [][]string{nil, {"self:1"}, {"other:1"}, {"self:1", "other:1"}} {
				own, other := newFakeStorage(), newFakeStorage()
				var opts HandlerOptions
				if where != nil {
					peer := newTestHandler(t, other, HandlerOptions{})
					dial := func(Endpoint) (Peer, error) { return peer.Peer(), nil }
					opts.Router = newTestRouter(t, fixed(testHashrings(t, AlgorithmHashmod, 1, where...)), "self:1", dial, RouterOptions{})
				}
				rec := rwRequest{typ: typeV2, body: body}.deliver(newTestHandler(t, own, opts))
				wantAnswer(t, rec, 400, tc.texts...)
				// The reasons and their counts; examples may be worded otherwise.
				got := strings.Join(strings.SplitAfterN(rec.Body.String(), "\n", 3)[:2], "")
				if where == nil {
					want = got
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("answer (-without a router +with %v):\n%s", where, diff)
				}
				if n := len(own.stored) + len(other.stored); n != tc.stored {
					t.Errorf("%d samples are stored with %v, want %d", n, where, tc.stored)
				}
			}
		})
	}
}

// malformedIn returns a field with a message in it that is none.
func malformedIn(field protowire.Number, text []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), text)
}
