package writestore

import (
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/receive"
)

// refusals are the reasons for which a series may not be stored.
func refusals() (reasons []receive.Reason) {
	for r := range receive.Reasons() {
		if r.Class() != receive.Accepted {
			reasons = append(reasons, r)
		}
	}
	return reasons
}

func TestRefusedSeriesAreReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		series := rapid.IntRange(1, 200).Draw(t, "series")
		want := rapid.MapOf(rapid.IntRange(0, series-1), rapid.SampledFrom(refusals())).Draw(t, "refused")
		got, err := decodeRefused(encodeRefused(want), series)
		if err != nil || !maps.Equal(got, want) {
			t.Fatalf("got %v (%v), want %v", got, err, want)
		}
	})
}

func TestRefusedSeriesTakeLittleSpace(t *testing.T) {
	all, odd := map[int]receive.Reason{}, map[int]receive.Reason{}
	for i := range 100_000 {
		all[i] = receive.ReasonUnavailable
		if i%2 == 1 {
			odd[i] = receive.ReasonOutOfOrder
		}
	}
	if n := len(encodeRefused(all)); n > 64 {
		t.Errorf("all of 100,000 series take %d bytes", n)
	}
	if n := len(encodeRefused(odd)); n > 2*len(odd)+64 {
		t.Errorf("every other of 100,000 series takes %d bytes", n)
	}
}

// refusedFor encodes a reason that this version may not know.
func refusedFor(name string, retryable bool, runs ...uint64) []byte {
	var series, one []byte
	for _, n := range runs {
		series = protowire.AppendVarint(series, n)
	}
	one = protowire.AppendString(protowire.AppendTag(one, 1, protowire.BytesType), name)
	one = protowire.AppendVarint(protowire.AppendTag(one, 2, protowire.VarintType), protowire.EncodeBool(retryable))
	one = protowire.AppendBytes(protowire.AppendTag(one, 3, protowire.BytesType), series)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), one)
}

func TestReasonsOfALaterVersionKeepTheirClass(t *testing.T) {
	for _, c := range []struct {
		name      string
		retryable bool
		want      receive.Reason
	}{
		{"out_of_order", false, receive.ReasonOutOfOrder},
		{"storage_unavailable", true, receive.ReasonUnavailable},
		{"phase_of_the_moon", false, receive.ReasonRefused},
		{"phase_of_the_moon", true, receive.ReasonFailed},
		{"out_of_order", true, receive.ReasonFailed},
		{"stored", false, receive.ReasonRefused},
	} {
		got, err := decodeRefused(refusedFor(c.name, c.retryable, 1, 2), 5)
		if want := map[int]receive.Reason{1: c.want, 2: c.want}; err != nil || !maps.Equal(got, want) {
			t.Errorf("%s, retryable %v: %v (%v), want %v", c.name, c.retryable, got, err, want)
		}
	}
}

func TestRefusedSeriesThatAreNotInTheRequest(t *testing.T) {
	for _, runs := range [][]uint64{{5, 1}, {0, 6}, {1, 2, 1, 2}, {1 << 63, 1 << 63}, {0, 1, 1 << 62, 1}, {1}} {
		if got, err := decodeRefused(refusedFor("out_of_order", false, runs...), 5); err == nil {
			t.Errorf("%v of 5 series: %v", runs, got)
		}
	}
}

// What reading takes is bounded by the series, not by what a peer sends of them.
func TestRefusedSeriesThatComeTwice(t *testing.T) {
	for _, second := range []string{"out_of_order", "storage_failed"} {
		data := append(refusedFor("out_of_order", false, 1, 3), refusedFor(second, second != "out_of_order", 3, 1)...)
		if got, err := decodeRefused(data, 5); err == nil {
			t.Errorf("series 3 is refused twice: %v", got)
		}
	}
}

func FuzzDecodeRefused(f *testing.F) {
	f.Add(encodeRefused(map[int]receive.Reason{0: receive.ReasonOutOfOrder, 1: receive.ReasonOutOfOrder, 7: receive.ReasonFailed}), uint16(8))
	f.Add(refusedFor("later", true, 0, 1, 3, 2), uint16(100))
	f.Fuzz(func(t *testing.T, data []byte, series uint16) {
		refused, err := decodeRefused(data, int(series))
		if err != nil {
			return
		}
		if at := slices.Collect(maps.Keys(refused)); len(at) > 0 && (slices.Min(at) < 0 || slices.Max(at) >= int(series)) {
			t.Fatalf("refused are %v, of %d", at, series)
		}
		for _, reason := range refused {
			if reason.Class() == receive.Accepted {
				t.Fatalf("refused as %v", reason)
			}
		}
		if again, err := decodeRefused(encodeRefused(refused), int(series)); err != nil || !maps.Equal(again, refused) {
			t.Fatalf("%v is read as %v (%v)", refused, again, err)
		}
	})
}
