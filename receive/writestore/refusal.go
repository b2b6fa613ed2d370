package writestore

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/receive"
)

// refusedKey is the trailer that says which series were not stored. Its value is
// a protobuf message:
//
//	repeated Refused refused = 1
//
//	message Refused {
//	  string reason = 1           // as Reason.String writes it
//	  bool   retryable = 2        // for who does not know the reason
//	  repeated uint32 series = 3  // packed: gap, run, gap, run, …
//	}
//
// The series of one reason are runs of positions: how many are between the end
// of the run before and this, and how many it is long. No series is there twice.
const refusedKey = "varve-refused-bin"

// maxRefusedBytes is how long the trailer may be. Without one the status is
// taken for that of all series, which is the class of the gravest.
const maxRefusedBytes = 1 << 20

const (
	fieldRefused   = 1
	fieldReason    = 1
	fieldRetryable = 2
	fieldSeries    = 3
)

// encodeRefused encodes what PeerRefusal.Refused holds.
func encodeRefused(refused map[int]receive.Reason) []byte {
	byReason := map[receive.Reason][]int{}
	for position, reason := range refused {
		byReason[reason] = append(byReason[reason], position)
	}
	var out []byte
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		positions := byReason[reason]
		slices.Sort(positions)
		var one []byte
		one = protowire.AppendTag(one, fieldReason, protowire.BytesType)
		one = protowire.AppendString(one, reason.String())
		one = protowire.AppendTag(one, fieldRetryable, protowire.VarintType)
		one = protowire.AppendVarint(one, protowire.EncodeBool(reason.Class() == receive.Retryable))
		one = protowire.AppendTag(one, fieldSeries, protowire.BytesType)
		one = protowire.AppendBytes(one, appendRuns(nil, positions))
		out = protowire.AppendTag(out, fieldRefused, protowire.BytesType)
		out = protowire.AppendBytes(out, one)
	}
	return out
}

// appendRuns appends positions, which are sorted, as runs.
func appendRuns(dst []byte, positions []int) []byte {
	for end, i := 0, 0; i < len(positions); {
		run := 1
		for i+run < len(positions) && positions[i+run] == positions[i]+run {
			run++
		}
		dst = protowire.AppendVarint(dst, uint64(positions[i]-end))
		dst = protowire.AppendVarint(dst, uint64(run))
		end = positions[i] + run
		i += run
	}
	return dst
}

// refusedOf returns what a peer says in its trailer about the series of a
// request, of which there are so many. Without one it returns nil.
func refusedOf(trailer metadata.MD, series int) (map[int]receive.Reason, error) {
	values := trailer.Get(refusedKey)
	if len(values) == 0 {
		return nil, nil
	}
	return decodeRefused([]byte(values[0]), series)
}

func decodeRefused(data []byte, series int) (map[int]receive.Reason, error) {
	refused := map[int]receive.Reason{}
	for pos := 0; pos < len(data); {
		f, err := nextField(data, pos)
		if err != nil {
			return nil, err
		}
		pos = f.End
		if !f.Is(fieldRefused, protowire.BytesType) {
			continue
		}
		if err := decodeOneReason(f.Bytes, series, refused); err != nil {
			return nil, err
		}
	}
	return refused, nil
}

func decodeOneReason(data []byte, series int, refused map[int]receive.Reason) error {
	var (
		name      string
		retryable bool
		runs      []byte
	)
	for pos := 0; pos < len(data); {
		f, err := nextField(data, pos)
		if err != nil {
			return err
		}
		pos = f.End
		switch {
		case f.Is(fieldReason, protowire.BytesType):
			name = string(f.Bytes)
		case f.Is(fieldRetryable, protowire.VarintType):
			retryable = f.Number != 0
		case f.Is(fieldSeries, protowire.BytesType):
			runs = f.Bytes
		}
	}
	return readRuns(runs, series, reasonNamed(name, retryable), refused)
}

// reasonNamed returns the reason that a peer names, or one of the same class if
// the peer knows more of them.
func reasonNamed(name string, retryable bool) receive.Reason {
	reason, known := receive.ParseReason(name)
	switch {
	case known && (reason.Class() == receive.Retryable) == retryable && reason.Class() != receive.Accepted:
		return reason
	case retryable:
		return receive.ReasonFailed
	}
	return receive.ReasonRefused
}

func readRuns(runs []byte, series int, reason receive.Reason, refused map[int]receive.Reason) error {
	for at := uint64(0); len(runs) > 0; {
		gap, n := protowire.ConsumeVarint(runs)
		if n < 0 {
			return badVarint(n)
		}
		run, m := protowire.ConsumeVarint(runs[n:])
		if m < 0 {
			return badVarint(m)
		}
		runs = runs[n+m:]
		left := uint64(series) - at
		if gap > left || run > left-gap {
			return fmt.Errorf("it refuses series %d and on, of %d", at+gap, series)
		}
		for i := range run {
			position := int(at + gap + i)
			if _, twice := refused[position]; twice {
				return fmt.Errorf("it refuses series %d twice", position)
			}
			refused[position] = reason
		}
		at += gap + run
	}
	return nil
}

func badVarint(code int) error {
	return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(code))
}
