package aggrchunk

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Encoding is the encoding byte of a Chunk in a chunk file.
const Encoding chunkenc.Encoding = 0xff

// Aggregate is what a slot of a Chunk holds.
type Aggregate uint8

// The aggregates in the order of their slots.
const (
	Count Aggregate = iota
	Sum
	Min
	Max
	Counter

	slots = 5
)

// String names the aggregate.
func (a Aggregate) String() string {
	switch a {
	case Count:
		return "count"
	case Sum:
		return "sum"
	case Min:
		return "min"
	case Max:
		return "max"
	case Counter:
		return "counter"
	}
	return fmt.Sprintf("aggregate %d", uint8(a))
}

// ErrCorrupt is wrapped by all errors about the bytes of a Chunk.
var ErrCorrupt = errors.New("a chunk of aggregates is corrupt")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// Slot is one aggregate: a chunk of another encoding. It is absent if Data is
// empty.
type Slot struct {
	Encoding chunkenc.Encoding
	Data     []byte
}

// Chunk is a chunk of aggregates. It does not change, and may be read by several
// goroutines at once.
type Chunk struct {
	data  []byte
	slots [slots]Slot
}

var _ chunkenc.Chunk = (*Chunk)(nil)

// Parse takes the data of a chunk record apart. The chunk keeps data.
func Parse(data []byte) (*Chunk, error) {
	c := &Chunk{data: data}
	rest := data
	for i := range c.slots {
		length, n := binary.Uvarint(rest)
		if n <= 0 {
			return nil, corrupt("the %s has no sensible length", Aggregate(i))
		}
		if rest = rest[n:]; length == 0 {
			continue
		}
		if length >= uint64(len(rest)) { // the encoding is not counted
			return nil, corrupt("the %s has %d bytes of %d", Aggregate(i), length, len(rest))
		}
		end := 1 + int(length)
		c.slots[i] = Slot{Encoding: chunkenc.Encoding(rest[0]), Data: rest[1:end:end]}
		rest = rest[end:]
	}
	if len(rest) > 0 {
		return nil, corrupt("%d bytes follow the last aggregate", len(rest))
	}
	return c, nil
}

// New makes a chunk of slots in the order of the constants. It copies their data.
// Thanos takes a chunk that ends with an absent slot for broken, so that one
// without a counter is for readers of this package only.
func New(of [5]Slot) *Chunk {
	size := 0
	for _, s := range of {
		size += binary.MaxVarintLen32 + 1 + len(s.Data)
	}
	data := make([]byte, 0, size)
	c := &Chunk{}
	for i, s := range of {
		data = binary.AppendUvarint(data, uint64(len(s.Data)))
		if len(s.Data) == 0 {
			continue
		}
		data = append(data, byte(s.Encoding))
		at := len(data)
		data = append(data, s.Data...)
		c.slots[i] = Slot{Encoding: s.Encoding, Data: data[at:len(data):len(data)]}
	}
	c.data = data
	return c
}

// SlotOf makes a slot of an ordinary chunk, absent if c is nil.
func SlotOf(c chunkenc.Chunk) Slot {
	if c == nil {
		return Slot{}
	}
	return Slot{Encoding: c.Encoding(), Data: c.Bytes()}
}

// Slot returns an aggregate, and false if it is absent. The data is the chunk's.
func (c *Chunk) Slot(a Aggregate) (s Slot, ok bool) {
	if a >= slots {
		return Slot{}, false
	}
	return c.slots[a], len(c.slots[a].Data) > 0
}

// Only returns a chunk with no other aggregates, in memory of its own.
func (c *Chunk) Only(wanted ...Aggregate) *Chunk {
	var some [slots]Slot
	for _, a := range wanted {
		if a < slots {
			some[a] = c.slots[a]
		}
	}
	return New(some)
}

// Bytes returns the data as a chunk record has it. It must not be changed.
func (c *Chunk) Bytes() []byte { return c.data }

// Encoding returns the constant of that name.
func (c *Chunk) Encoding() chunkenc.Encoding { return Encoding }

// NumSamples returns how many windows the first aggregate there is has.
func (c *Chunk) NumSamples() int {
	for _, s := range c.slots {
		if len(s.Data) >= 2 {
			return int(binary.BigEndian.Uint16(s.Data))
		}
	}
	return 0
}

var errNotOrdinary = errors.New("a chunk of aggregates has no samples of its own: ask for one of them")

// Iterator returns one that fails.
func (c *Chunk) Iterator(chunkenc.Iterator) chunkenc.Iterator { return failing{} }

// Appender fails.
func (c *Chunk) Appender() (chunkenc.Appender, error) { return nil, errNotOrdinary }

// Compact does nothing.
func (c *Chunk) Compact() {}

// Reset replaces the content. Data that is no chunk of aggregates leaves all
// aggregates absent.
func (c *Chunk) Reset(data []byte) {
	*c = Chunk{data: data}
	if parsed, err := Parse(data); err == nil {
		*c = *parsed
	}
}

// failing is an iterator without samples and with an error.
type failing struct{}

// millis is a timestamp. The name keeps go vet from taking Seek for that of
// io.Seeker.
type millis = int64

func (failing) Next() chunkenc.ValueType       { return chunkenc.ValNone }
func (failing) Seek(millis) chunkenc.ValueType { return chunkenc.ValNone }
func (failing) At() (int64, float64)           { return 0, 0 }
func (failing) AtT() int64                     { return 0 }
func (failing) AtST() int64                    { return 0 }
func (failing) Err() error                     { return errNotOrdinary }

func (failing) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return 0, &histogram.Histogram{}
}

func (failing) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return 0, &histogram.FloatHistogram{}
}
