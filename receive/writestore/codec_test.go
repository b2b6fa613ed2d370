package writestore

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
)

// hostService is a service of the process' own, with messages of its own.
func hostService(server *grpc.Server) {
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "host.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			m := &hostMessage{}
			return m, decode(m)
		}}},
	}, struct{}{})
}

func echo(t *testing.T, conn *grpc.ClientConn, text string) {
	t.Helper()
	got := &hostMessage{}
	if err := conn.Invoke(t.Context(), "/host.Echo/Echo", &hostMessage{text}, got); err != nil || got.text != text {
		t.Errorf("the host's own service answers %q, %v", got.text, err)
	}
}

// Two servers and two clients in a process that has a codec and messages of its
// own by the same names: neither side notices.
func TestTwoOfEverythingBesideTheHosts(t *testing.T) {
	before := foreign.Load()
	first, second := &recorder{}, &recorder{}
	conns := map[*recorder]*grpc.ClientConn{}
	for _, to := range []*recorder{first, second} {
		s, err := NewServer(to, ServerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer(s.GRPCOptions()...)
		s.Register(server)
		hostService(server)
		conns[to] = serve(t, server)
	}
	for to, conn := range conns {
		echo(t, conn, "before")
		for range 3 {
			if err := NewClient(conn).Write(t.Context(), request()); err != nil {
				t.Fatal(err)
			}
		}
		echo(t, conn, "after")
		if len(to.got) != 3 {
			t.Errorf("%d requests came, want 3", len(to.got))
		}
	}
	if n := foreign.Load() - before; n != 0 {
		t.Errorf("the host's codec was given %d messages that are not its own", n)
	}
	if encoding.GetCodecV2(proto.Name) != (hostCodec{}) || encoding.GetCompressor("snappy") != nil {
		t.Error("what is registered for the process has changed")
	}
}

func TestCodecsWrapEachOther(t *testing.T) {
	to := &recorder{}
	s, err := NewServer(to, ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(s.GRPCOptions(), grpc.ForceServerCodecV2(Codec(Codec(hostCodec{}))))...)
	s.Register(server)
	hostService(server)
	conn := serve(t, server)
	echo(t, conn, "wrapped")
	if err := NewClient(conn).Write(t.Context(), request()); err != nil || len(to.got) != 1 {
		t.Errorf("%v, %d requests came", err, len(to.got))
	}
}
