package writestore

import (
	"testing"

	"google.golang.org/grpc"

	"github.com/varve-tsdb/varve/internal/grpcwire/grpctest"
)

// Two servers and two clients in a process that has a codec and messages of its
// own by the same names: neither side notices.
func TestTwoOfEverythingBesideTheHosts(t *testing.T) {
	before := grpctest.Foreign()
	first, second := &recorder{}, &recorder{}
	conns := map[*recorder]*grpc.ClientConn{}
	for _, to := range []*recorder{first, second} {
		s, err := NewServer(to, ServerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer(s.GRPCOptions()...)
		s.Register(server)
		grpctest.RegisterHost(server)
		conns[to] = grpctest.Serve(t, server)
	}
	for to, conn := range conns {
		grpctest.CheckHost(t, conn)
		for range 3 {
			if err := NewClient(conn).Write(t.Context(), request()); err != nil {
				t.Fatal(err)
			}
		}
		grpctest.CheckHost(t, conn)
		if len(to.got) != 3 {
			t.Errorf("%d requests came, want 3", len(to.got))
		}
	}
	if n := grpctest.Foreign() - before; n != 0 {
		t.Errorf("the host's codec was given %d messages that are not its own", n)
	}
	grpctest.CheckOccupied(t)
}

func TestCodecsWrapEachOther(t *testing.T) {
	to := &recorder{}
	s, err := NewServer(to, ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(s.GRPCOptions(), grpc.ForceServerCodecV2(Codec(Codec(grpctest.HostCodec{}))))...)
	s.Register(server)
	grpctest.RegisterHost(server)
	conn := grpctest.Serve(t, server)
	grpctest.CheckHost(t, conn)
	if err := NewClient(conn).Write(t.Context(), request()); err != nil || len(to.got) != 1 {
		t.Errorf("%v, %d requests came", err, len(to.got))
	}
}
