package writestore

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/internal/grpcwire"
	"github.com/varve-tsdb/varve/receive"
)

// Fields of thanos.WriteRequest. Those of thanos.TimeSeriesTenantTuple are the
// first two, with the same numbers.
const (
	fieldTimeseries = 1 // repeated prometheus_copy.TimeSeries
	fieldTenant     = 2 // string
	fieldReplica    = 3 // int64
	fieldTuples     = 4 // repeated TimeSeriesTenantTuple; not in v0.42.4
)

// maxTuples bounds the tenants of a message: an empty tuple is two bytes, and
// what is kept of each is many more.
const maxTuples = 1 << 16

var errMalformed = errors.New("the message is no valid thanos.WriteRequest")

// size returns how many bytes the message takes at most, a few more than it has.
func (r *sentRequest) size() int {
	return len(r.series.Message) +
		protowire.SizeTag(fieldTenant) + protowire.SizeBytes(len(r.series.Tenant)) +
		protowire.SizeTag(fieldReplica) + protowire.SizeVarint(uint64(r.replica))
}

// encodeRequest encodes series of one tenant as fields 1 to 3. They are copied
// once, since gRPC may hold on to what it sends for longer than a call takes
// that is cancelled.
func encodeRequest(r *sentRequest, pool mem.BufferPool) mem.BufferSlice {
	buf := pool.Get(r.size())
	b := append((*buf)[:0], r.series.Message...)
	if r.series.Tenant != "" {
		b = protowire.AppendTag(b, fieldTenant, protowire.BytesType)
		b = protowire.AppendString(b, r.series.Tenant)
	}
	if r.replica != 0 {
		b = protowire.AppendTag(b, fieldReplica, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(r.replica))
	}
	*buf = b
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}
}

// decodeRequest reads a thanos.WriteRequest in either of its shapes. What it
// returns points into body, but for series of a tenant that do not lie side by
// side: they are copied together. Tenants without series are left out.
func decodeRequest(body []byte) (*receive.PeerRequest, error) {
	var (
		req   receive.PeerRequest
		alone tenantSeries // fields 1 and 2
	)
	tuples := []receive.PeerSeries(nil)
	for pos := 0; pos < len(body); {
		f, err := nextField(body, pos)
		if err != nil {
			return nil, err
		}
		switch {
		case f.Is(fieldReplica, protowire.VarintType):
			if f.Number > math.MaxInt32 {
				return nil, fmt.Errorf("%w: %d; replicas are counted from 1, and 0 is none", receive.ErrBadReplica, int64(f.Number))
			}
			req.Replica = int(f.Number)
		case f.Is(fieldTuples, protowire.BytesType):
			tuple, err := decodeTuple(f.Bytes)
			if err != nil {
				return nil, err
			}
			if tuple.Series == 0 {
				break
			}
			if len(tuples) == maxTuples {
				return nil, fmt.Errorf("%w: it has more than %d tenants", errMalformed, maxTuples)
			}
			tuples = append(tuples, tuple)
		default:
			alone.take(body, pos, f)
		}
		pos = f.End
	}
	if alone.Series > 0 {
		req.Tenants = append(req.Tenants, alone.PeerSeries)
	}
	req.Tenants = append(req.Tenants, tuples...)
	return &req, nil
}

func decodeTuple(body []byte) (receive.PeerSeries, error) {
	var s tenantSeries
	for pos := 0; pos < len(body); {
		f, err := nextField(body, pos)
		if err != nil {
			return receive.PeerSeries{}, err
		}
		s.take(body, pos, f)
		pos = f.End
	}
	return s.PeerSeries, nil
}

// tenantSeries collects the series of one tenant.
type tenantSeries struct {
	receive.PeerSeries
	start, end int // where Message lies in the body, as long as it is in one piece
}

// take adds the field f at pos of body, if it is one of the two.
func (s *tenantSeries) take(body []byte, pos int, f grpcwire.Field) {
	switch {
	case f.Is(fieldTenant, protowire.BytesType):
		s.Tenant = string(f.Bytes)
	case f.Is(fieldTimeseries, protowire.BytesType):
		if s.Series == 0 {
			s.start, s.end = pos, pos
		}
		s.Series++
		if s.end == pos {
			s.end = f.End
			s.Message = body[s.start:s.end:s.end]
			break
		}
		s.end = -1
		// The capacity ends where the bytes do: this copies the first time.
		s.Message = append(s.Message, body[pos:f.End]...)
	}
}

func nextField(body []byte, pos int) (grpcwire.Field, error) {
	f, err := grpcwire.Next(body, pos)
	if err != nil {
		return f, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return f, nil
}
