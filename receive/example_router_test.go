package receive_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/varve-tsdb/varve/receive"
)

// Three receivers in one process have three copies of each series, of which two
// must be stored for a request to succeed. With package
// receive/writestore they would be in three, and dial would make connections.
func ExampleNewRouter() {
	rings, err := receive.ParseHashrings([]byte(`[{"endpoints": ["a:10901", "b:10901", "c:10901"], "algorithm": "ketama"}]`),
		receive.HashringsOptions{ReplicationFactor: 3})
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	handlers := map[string]*receive.Handler{}
	dial := func(e receive.Endpoint) (receive.Peer, error) {
		return receive.PeerFunc(handlers[e.Address].WritePeer), nil
	}
	for _, e := range rings.Endpoints() {
		heads, err := receive.OpenTenants(filepath.Join(dir, e.Address[:1]), receive.TenantsOptions{})
		if err != nil {
			panic(err)
		}
		defer heads.Close()
		// Current of a HashringFile takes the place of this function.
		current := func() *receive.Hashrings { return rings }
		router, err := receive.NewRouter(current, e.Address, dial, receive.RouterOptions{})
		if err != nil {
			panic(err)
		}
		defer router.Close()
		handlers[e.Address], err = receive.NewHandler(heads, receive.HandlerOptions{Router: router})
		if err != nil {
			panic(err)
		}
	}
	// Any of them takes requests.
	server := httptest.NewServer(handlers["b:10901"])
	defer server.Close()
	fmt.Println(len(handlers), "receivers")
	// Output: 3 receivers
}
