package writestore

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/varve-tsdb/varve/internal/grpcwire/grpctest"
	"github.com/varve-tsdb/varve/receive"
)

// serveTo runs a Server that hands on to to until the test ends, and returns a
// connection to it.
func serveTo(t testing.TB, to receive.Peer, opts ServerOptions, dial ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	s, err := NewServer(to, opts)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(s.GRPCOptions()...)
	s.Register(server)
	return grpctest.Serve(t, server, dial...)
}

// answering is a peer that returns an error.
func answering(err error) receive.Peer {
	return receive.PeerFunc(func(context.Context, *receive.PeerRequest) error { return err })
}

// recorder is a peer that keeps copies of what it is handed.
type recorder struct{ got []receive.PeerRequest }

func (r *recorder) Write(_ context.Context, req *receive.PeerRequest) error {
	kept := receive.PeerRequest{Replica: req.Replica}
	for _, s := range req.Tenants {
		s.Message = append([]byte(nil), s.Message...)
		kept.Tenants = append(kept.Tenants, s)
	}
	r.got = append(r.got, kept)
	return nil
}

// rawCodec sends and receives bytes.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// call sends an encoded request as any other program would.
func call(t testing.TB, conn *grpc.ClientConn, body []byte) error {
	t.Helper()
	var answer []byte
	err := conn.Invoke(t.Context(), "/thanos.WriteableStore/RemoteWrite", &body, &answer, grpc.ForceCodecV2(rawCodec{}))
	if err == nil && len(answer) != 0 {
		t.Errorf("the answer has %d bytes, and a WriteResponse no fields", len(answer))
	}
	return err
}

// rawPeer is a foreign implementation of the service, on bytes.
func rawPeer(answer func(ctx context.Context, body []byte) error) *grpc.Server {
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "thanos.WriteableStore", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "RemoteWrite", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var body []byte
			if err := decode(&body); err != nil {
				return nil, err
			}
			return new([]byte), answer(ctx, body)
		}}},
	}, struct{}{})
	return server
}

// oracle is a thanos.WriteRequest as the protobuf library reads it.
type oracle struct {
	timeseries [][]byte
	tenant     string
	replica    int64
	tuples     []oracle
}

func (o oracle) message(name protoreflect.Name) *dynamicpb.Message {
	m := dynamicpb.NewMessage(thanosFile.Messages().ByName(name))
	fields := m.Descriptor().Fields()
	if len(o.timeseries) > 0 {
		list := m.Mutable(fields.ByNumber(1)).List()
		for _, s := range o.timeseries {
			list.Append(protoreflect.ValueOfBytes(s))
		}
	}
	if o.tenant != "" {
		m.Set(fields.ByNumber(2), protoreflect.ValueOfBytes([]byte(o.tenant)))
	}
	if o.replica != 0 {
		m.Set(fields.ByNumber(3), protoreflect.ValueOfInt64(o.replica))
	}
	if len(o.tuples) > 0 {
		list := m.Mutable(fields.ByNumber(4)).List()
		for _, tuple := range o.tuples {
			list.Append(protoreflect.ValueOfMessage(tuple.message("TimeSeriesTenantTuple")))
		}
	}
	return m
}

func (o oracle) encode(t testing.TB) []byte {
	t.Helper()
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(o.message("WriteRequest"))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// readOracle returns false if body is no message.
func readOracle(body []byte) (o oracle, ok bool) {
	m := dynamicpb.NewMessage(thanosFile.Messages().ByName("WriteRequest"))
	if err := proto.Unmarshal(body, m); err != nil {
		return o, false
	}
	return oracleOf(m), true
}

func oracleOf(m protoreflect.Message) (o oracle) {
	fields := m.Descriptor().Fields()
	list := m.Get(fields.ByNumber(1)).List()
	for i := range list.Len() {
		o.timeseries = append(o.timeseries, list.Get(i).Bytes())
	}
	o.tenant = string(m.Get(fields.ByNumber(2)).Bytes())
	if replica := fields.ByNumber(3); replica != nil {
		o.replica = m.Get(replica).Int()
		tuples := m.Get(fields.ByNumber(4)).List()
		for i := range tuples.Len() {
			o.tuples = append(o.tuples, oracleOf(tuples.Get(i).Message()))
		}
	}
	return o
}
