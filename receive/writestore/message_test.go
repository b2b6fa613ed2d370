package writestore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/receive"
)

// timeseries encodes series as field 1 of a message.
func timeseries(series ...string) (body []byte) {
	for _, s := range series {
		body = protowire.AppendTag(body, 1, protowire.BytesType)
		body = protowire.AppendString(body, s)
	}
	return body
}

func tenant(name string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), name)
}

func replica(n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), uint64(n))
}

func tuple(parts ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), join(parts...))
}

func join(parts ...[]byte) (body []byte) {
	for _, p := range parts {
		body = append(body, p...)
	}
	return body
}

func TestBothShapesOfARequest(t *testing.T) {
	unknown := protowire.AppendString(protowire.AppendTag(nil, 9, protowire.BytesType), "later")
	for _, c := range []struct {
		name string
		body []byte
		want receive.PeerRequest
	}{
		{"nothing", nil, receive.PeerRequest{}},
		{
			"one tenant", join(timeseries("a", "bc"), tenant("t"), replica(2)),
			receive.PeerRequest{Replica: 2, Tenants: []receive.PeerSeries{{Tenant: "t", Message: timeseries("a", "bc"), Series: 2}}},
		},
		{
			"no replica, no tenant", timeseries("a"),
			receive.PeerRequest{Tenants: []receive.PeerSeries{{Message: timeseries("a"), Series: 1}}},
		},
		{
			"several tenants", join(replica(1), tuple(timeseries("a"), tenant("t")), tuple(tenant("u"), timeseries("b", "", "c"))),
			receive.PeerRequest{Replica: 1, Tenants: []receive.PeerSeries{
				{Tenant: "t", Message: timeseries("a"), Series: 1},
				{Tenant: "u", Message: timeseries("b", "", "c"), Series: 3},
			}},
		},
		{
			"both", join(tuple(timeseries("b"), tenant("u")), timeseries("a"), tenant("t")),
			receive.PeerRequest{Tenants: []receive.PeerSeries{
				{Tenant: "t", Message: timeseries("a"), Series: 1},
				{Tenant: "u", Message: timeseries("b"), Series: 1},
			}},
		},
		{
			"series apart from each other", join(timeseries("a", "b"), tenant("x"), timeseries("c"), unknown, timeseries("d"), tenant("t")),
			receive.PeerRequest{Tenants: []receive.PeerSeries{{Tenant: "t", Message: timeseries("a", "b", "c", "d"), Series: 4}}},
		},
		{"a tenant without series", join(tuple(tenant("t")), tuple()), receive.PeerRequest{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept := join(c.body)
			got, err := decodeRequest(c.body)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, *got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(kept, c.body); d != "" {
				t.Errorf("the message has changed: %s", d)
			}
		})
	}
}

func TestSeriesAreNotCopied(t *testing.T) {
	for name, body := range map[string][]byte{
		"one tenant": join(timeseries("a", "b", "c"), tenant("t"), replica(1)),
		"several":    join(tuple(timeseries("a", "b", "c"), tenant("t")), replica(1)),
	} {
		req, err := decodeRequest(body)
		if err != nil {
			t.Fatal(err)
		}
		message := req.Tenants[0].Message
		message[2]++ // the value of the first series
		if again, _ := decodeRequest(body); again.Tenants[0].Message[2] != message[2] {
			t.Errorf("%s: the series have been copied", name)
		}
		if cap(message) != len(message) {
			t.Errorf("%s: appending to the series would overwrite what follows them", name)
		}
	}
}

func TestRequestsThatAreNone(t *testing.T) {
	tooMany := []byte(nil)
	for range maxTuples + 1 {
		tooMany = append(tooMany, tuple(timeseries(""))...)
	}
	for name, c := range map[string]struct {
		body []byte
		want error
	}{
		"cut off":           {timeseries("abc")[:3], errMalformed},
		"cut off inside":    {tuple(timeseries("abc")[:3]), errMalformed},
		"no tag":            {[]byte{0}, errMalformed},
		"end of a group":    {[]byte{1<<3 | 4}, errMalformed},
		"too many tenants":  {tooMany, errMalformed},
		"replica below one": {replica(-1), receive.ErrBadReplica},
		"replica too large": {replica(1 << 40), receive.ErrBadReplica},
	} {
		if _, err := decodeRequest(c.body); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestEncodedRequestIsReadByProtobuf(t *testing.T) {
	for _, want := range []oracle{
		{},
		{timeseries: [][]byte{[]byte("a"), nil, []byte("bc")}, tenant: "t", replica: 3},
		{timeseries: [][]byte{make([]byte, 100_000)}, tenant: "long", replica: 200},
	} {
		var series []string
		for _, s := range want.timeseries {
			series = append(series, string(s))
		}
		encoded := encodeRequest(&sentRequest{int(want.replica), receive.PeerSeries{Tenant: want.tenant, Message: timeseries(series...)}}, mem.DefaultBufferPool())
		got, ok := readOracle(encoded.Materialize())
		if !ok || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("protobuf reads %v (%v), want %v", got, ok, want)
		}
		encoded.Free()
	}
}

// FuzzDecodeRequest compares what is read with what the protobuf library reads.
func FuzzDecodeRequest(f *testing.F) {
	for _, o := range []oracle{
		{},
		{timeseries: [][]byte{[]byte("a"), []byte("bc")}, tenant: "t", replica: 1},
		{replica: 2, tuples: []oracle{{timeseries: [][]byte{[]byte("a")}, tenant: "t"}, {timeseries: [][]byte{{}, []byte("b")}}}},
		{timeseries: [][]byte{[]byte("a")}, replica: -1, tuples: []oracle{{tenant: "t"}}},
	} {
		f.Add(o.encode(f))
	}
	f.Add(join(timeseries("a"), tenant("t"), timeseries("b"), []byte{5<<3 | 3, 5<<3 | 4}, timeseries("c")))
	f.Fuzz(func(t *testing.T, body []byte) {
		want, valid := readOracle(body)
		got, err := decodeRequest(body)
		if errors.Is(err, receive.ErrBadReplica) {
			return
		}
		if (err == nil) != valid {
			t.Fatalf("read: %v, by protobuf: %v", err, valid)
		}
		if err != nil {
			return
		}
		if valid := int64(got.Replica) == want.replica; !valid {
			t.Fatalf("replica %d, want %d", got.Replica, want.replica)
		}
		wanted := append([]oracle{want}, want.tuples...)
		for _, s := range got.Tenants {
			for len(wanted) > 0 && len(wanted[0].timeseries) == 0 {
				wanted = wanted[1:]
			}
			if len(wanted) == 0 {
				t.Fatalf("more tenants than there are: %v", got)
			}
			read, ok := readOracle(s.Message)
			if !ok || fmt.Sprint(read) != fmt.Sprint(oracle{timeseries: wanted[0].timeseries}) ||
				s.Tenant != wanted[0].tenant || s.Series != len(wanted[0].timeseries) {
				t.Fatalf("tenant %q: %d series, %v; want %v", s.Tenant, s.Series, read, wanted[0])
			}
			wanted = wanted[1:]
		}
		for _, left := range wanted {
			if len(left.timeseries) > 0 {
				t.Fatalf("not read: %v", left)
			}
		}
	})
}
