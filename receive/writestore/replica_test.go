package writestore

import (
	"errors"
	"strings"
	"testing"

	"github.com/varve-tsdb/varve/receive"
)

// A replica that a receiver does not know of is one to send again, and no reason
// to leave the receiver alone, in the same process and by gRPC alike.
func TestBadReplicaIsRetryable(t *testing.T) {
	rings, err := receive.ParseHashrings([]byte(`[{"endpoints": ["self"]}]`), receive.HashringsOptions{ReplicationFactor: 1})
	if err != nil {
		t.Fatal(err)
	}
	router, err := receive.NewRouter(func() *receive.Hashrings { return rings }, "self",
		func(receive.Endpoint) (receive.Peer, error) { return nil, errors.New("there is no other") }, receive.RouterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := router.Close(); err != nil {
			t.Error(err)
		}
	}()
	handler, err := receive.NewHandler(&hangingStorage{}, receive.HandlerOptions{Router: router})
	if err != nil {
		t.Fatal(err)
	}
	message, n := series(t, 1)
	for name, peer := range map[string]receive.Peer{
		"in process": handler.Peer(), "by a function": receive.PeerFunc(handler.WritePeer), "by gRPC": NewClient(serveTo(t, handler.Peer(), ServerOptions{})),
	} {
		err := peer.Write(t.Context(), &receive.PeerRequest{Replica: 2, Tenants: []receive.PeerSeries{{Tenant: "t", Message: message, Series: n}}})
		if !errors.Is(err, receive.ErrBadReplica) || receive.ReasonOf(err) != receive.ReasonFailed || !strings.Contains(err.Error(), "must be the same on all receivers") {
			t.Errorf("%s: %v, taken for %v", name, err, receive.ReasonOf(err))
		}
	}
	if class := receive.ReasonFailed.Class(); class != receive.Retryable {
		t.Errorf("it is %v", class)
	}
}
