package writepb

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

type marshaler interface{ Marshal() ([]byte, error) }

func encode(t testing.TB, m marshaler) []byte {
	t.Helper()
	body, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// field encodes one field of any message.
func field(num protowire.Number, typ protowire.Type, payload []byte) []byte {
	out := protowire.AppendTag(nil, num, typ)
	if typ == protowire.BytesType {
		return protowire.AppendBytes(out, payload)
	}
	return append(out, payload...)
}

func varint(v uint64) []byte { return protowire.AppendVarint(nil, v) }

func TestDecodesAsPrometheus(t *testing.T) {
	checkV1(t, encode(t, requestV1()))
	checkV1(t, nil)
	checkV2(t, encode(t, requestV2()))
	checkV2(t, nil)
}

// Every prefix of a good body, and every body with one byte changed, must be
// taken or refused as by Prometheus.
func TestDecodesDamageAsPrometheus(t *testing.T) {
	v1, v2 := encode(t, requestV1()), encode(t, requestV2())
	for i := range v1 {
		checkV1(t, v1[:i])
	}
	for i := range v2 {
		checkV2(t, v2[:i])
	}
	damage := func(body []byte, check func(*testing.T, []byte)) {
		for i := range body {
			for _, b := range []byte{0, 1, 0x7f, 0x80, 0xff, body[i] ^ 4, body[i] + 1} {
				damaged := bytes.Clone(body)
				damaged[i] = b
				check(t, damaged)
			}
		}
	}
	damage(v1, checkV1)
	damage(v2, checkV2)
}

func TestUnpackedAndUnknownFields(t *testing.T) {
	var series []byte
	for _, ref := range []uint64{1, 2, 3} {
		series = append(series, field(1, protowire.VarintType, varint(ref))...)
	}
	series = append(series, field(1, protowire.BytesType, append(varint(4), varint(0)...))...)
	series = append(series, field(6, protowire.VarintType, varint(123))...) // created timestamp of old drafts
	series = append(series, field(77, protowire.Fixed32Type, []byte{1, 2, 3, 4})...)
	series = append(series, field(2, protowire.BytesType, append(field(2, protowire.VarintType, varint(9)), field(9, protowire.BytesType, []byte("later"))...))...)
	var body []byte
	for _, s := range []string{"", "__name__", "up", "job", "a"} {
		body = append(body, field(4, protowire.BytesType, []byte(s))...)
	}
	body = append(body, field(5, protowire.BytesType, series)...)
	checkV2(t, body)

	var r Request
	var s Series
	if err := r.Reset(V2, body); err != nil {
		t.Fatal(err)
	}
	if err := r.Series(0, &s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint32{1, 2, 3, 4, 0}, s.refs); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Sample{{Timestamp: 9}}, s.Samples); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

func TestSymbolsMayFollowSeries(t *testing.T) {
	req := requestV2()
	body := encode(t, &writev2.Request{Timeseries: req.Timeseries})
	checkV2(t, append(body, encode(t, &writev2.Request{Symbols: req.Symbols})...))
}

func TestTellsVersionsApart(t *testing.T) {
	v1, v2 := encode(t, requestV1()), encode(t, requestV2())
	onlyMetadata := encode(t, &prompb.WriteRequest{Metadata: requestV1().Metadata})
	for _, tc := range []struct {
		name string
		as   Version
		body []byte
		want error
	}{
		{"2.0 sent as 1.0", V1, v2, ErrOtherVersion},
		{"1.0 sent as 2.0", V2, v1, ErrOtherVersion},
		{"1.0 metadata sent as 2.0", V2, onlyMetadata, ErrOtherVersion},
		{"symbols alone sent as 1.0", V1, encode(t, &writev2.Request{Symbols: []string{""}}), ErrOtherVersion},
		{"1.0 metadata", V1, onlyMetadata, nil},
		{"empty 1.0", V1, nil, nil},
		{"empty 2.0", V2, nil, nil},
		{"Cortex' source field alone", V1, field(2, protowire.VarintType, varint(1)), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r Request
			if err := r.Reset(tc.as, tc.body); !errors.Is(err, tc.want) {
				t.Fatalf("got error %v, want %v", err, tc.want)
			}
			if tc.want != nil && r.NumSeries() != 0 {
				t.Errorf("a refused body still shows %d series", r.NumSeries())
			}
		})
	}
}

func TestErrorsSayWhere(t *testing.T) {
	overflow := bytes.Repeat([]byte{0xff}, 10)
	for _, tc := range []struct {
		name string
		as   Version
		body []byte
		want string
	}{
		{"cut tag", V1, []byte{0x80}, "message WriteRequest at byte 0"},
		{"series too long", V1, []byte{0x0a, 9, 0}, "length reaches past the end of the message in field 1 of message WriteRequest at byte 1"},
		{"group", V1, []byte{0x0b}, "wrong wire type in field 1 of message WriteRequest"},
		{"group as unknown field", V2, field(9, protowire.StartGroupType, nil), "group"},
		{"field number zero", V1, []byte{0x02, 0}, "field number out of range"},
		{"wire type 7", V1, []byte{0x3f}, "unknown wire type"},
		{"wrong wire type", V2, field(5, protowire.VarintType, varint(1)), "wrong wire type in field 5 of message Request"},
		{"sample cut", V1, field(1, protowire.BytesType, field(2, protowire.BytesType, []byte{0x09, 1, 2})), "value cut short in field 1 of message Sample at byte 5"},
		{"overlong number", V1, field(1, protowire.BytesType, field(2, protowire.BytesType, append([]byte{0x10}, overflow...))), "number of more than 64 bits in field 2 of message Sample"},
		{"symbol reference cut", V2, field(5, protowire.BytesType, field(1, protowire.BytesType, []byte{0x80})), "message TimeSeries"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := readAll(tc.as, tc.body)
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want ErrMalformed with %q", err, tc.want)
			}
		})
	}
}

func TestRawLabels(t *testing.T) {
	label := func(name, value string) []byte {
		return field(1, protowire.BytesType, append(field(1, protowire.BytesType, []byte(name)), field(2, protowire.BytesType, []byte(value))...))
	}
	sample := field(2, protowire.BytesType, field(2, protowire.VarintType, varint(1)))
	together := append(append(label("a", "1"), label("b", "2")...), sample...)
	apart := append(append(label("a", "1"), sample...), label("b", "2")...)
	var r Request
	var s Series
	for name, tc := range map[string]struct{ series, want []byte }{
		"together": {together, append(label("a", "1"), label("b", "2")...)},
		"apart":    {apart, nil},
		"none":     {sample, nil},
	} {
		if err := r.Reset(V1, field(1, protowire.BytesType, tc.series)); err != nil {
			t.Fatal(err)
		}
		if err := r.Series(0, &s); err != nil {
			t.Fatal(err)
		}
		if got := s.rawLabels(); !bytes.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

// A Series that is used again shows nothing of what it held before.
func TestSeriesReuse(t *testing.T) {
	body := encode(t, requestV2())
	var r Request
	if err := r.Reset(V2, body); err != nil {
		t.Fatal(err)
	}
	var reused Series
	for round := range 2 {
		for i := range r.NumSeries() {
			var fresh Series
			if err := errors.Join(r.Series(i, &reused), r.Series(i, &fresh)); err != nil {
				t.Fatal(err)
			}
			got, err1 := flattenSeries(&reused)
			want, err2 := flattenSeries(&fresh)
			if err := errors.Join(err1, err2); err != nil || got != want {
				t.Fatalf("round %d, series %d: %v\n got %s\nwant %s", round, i, err, got, want)
			}
		}
	}
}

func TestMetadataTypes(t *testing.T) {
	want := map[int32]model.MetricType{
		-1: "unknown", 0: "unknown", 1: "counter", 2: "gauge", 3: "histogram", 4: "gaugehistogram",
		5: "summary", 6: "info", 7: "stateset", 8: "unknown",
	}
	for v, typ := range want {
		if got := metricType(v); got != typ {
			t.Errorf("type %d is %q, want %q", v, got, typ)
		}
	}
}

func TestDecodingAllocatesNothing(t *testing.T) {
	for _, tc := range []struct {
		v    Version
		body []byte
	}{{V1, encode(t, requestV1())}, {V2, encode(t, requestV2())}} {
		var (
			r  Request
			s  Series
			ls []Label
		)
		allocs := testing.AllocsPerRun(100, func() {
			if err := r.Reset(tc.v, tc.body); err != nil {
				t.Fatal(err)
			}
			for i := range r.NumSeries() {
				if err := r.Series(i, &s); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					ls, _ = s.AppendLabels(ls[:0])
				}
			}
		})
		if allocs > 0 {
			t.Errorf("version %s: %v allocations a request, want none", tc.v, allocs)
		}
	}
}
