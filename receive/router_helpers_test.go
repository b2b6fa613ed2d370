package receive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/prompb"
)

// testHashrings makes one hashring of all tenants.
func testHashrings(t testing.TB, algorithm HashringAlgorithm, replicationFactor int, addresses ...string) *Hashrings {
	t.Helper()
	text, err := json.Marshal([]map[string]any{{"hashring": "all", "endpoints": addresses, "algorithm": algorithm}})
	if err != nil {
		t.Fatal(err)
	}
	rings, err := ParseHashrings(text, HashringsOptions{ReplicationFactor: replicationFactor})
	if err != nil {
		t.Fatal(err)
	}
	return rings
}

func fixed(rings *Hashrings) func() *Hashrings { return func() *Hashrings { return rings } }

func newTestRouter(t testing.TB, rings func() *Hashrings, self string, dial func(Endpoint) (Peer, error), opts RouterOptions) *Router {
	t.Helper()
	r, err := NewRouter(rings, self, dial, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close the router: %v", err)
		}
	})
	return r
}

// peerCall is a call of a fakePeers, which waits for its answer.
type peerCall struct {
	address string
	replica int
	tenant  string
	series  []prompb.TimeSeries
	answer  chan error
}

func seriesName(s prompb.TimeSeries) string {
	for _, l := range s.Labels {
		if l.Name == "__name__" {
			return l.Value
		}
	}
	return ""
}

// fakePeers are peers whose calls wait until the test answers them. They look at
// the bytes they were given once more when they return, as a peer may.
type fakePeers struct {
	mu      sync.Mutex
	waiting []*peerCall
	problem error
	closed  []string
}

type fakePeer struct {
	of      *fakePeers
	address string
}

func (f *fakePeers) dial(e Endpoint) (Peer, error) { return &fakePeer{f, e.Address}, nil }

func (p *fakePeer) Write(ctx context.Context, req *PeerRequest) error {
	call, before, err := readCall(p.address, req)
	p.of.mu.Lock()
	p.of.problem = errors.Join(p.of.problem, err)
	p.of.waiting = append(p.of.waiting, call)
	p.of.mu.Unlock()
	select {
	case err = <-call.answer:
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.of.waiting = slices.DeleteFunc(p.of.waiting, func(c *peerCall) bool { return c == call })
	if !bytes.Equal(before, req.Tenants[0].Message) {
		p.of.problem = errors.Join(p.of.problem, errors.New("the bytes have changed while the call was under way"))
	}
	return err
}

func (p *fakePeer) Close() error {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.of.closed = append(p.of.closed, p.address)
	return nil
}

// readCall decodes a request as Prometheus' own decoder does.
func readCall(address string, req *PeerRequest) (*peerCall, []byte, error) {
	if len(req.Tenants) != 1 {
		return nil, nil, fmt.Errorf("%d tenants", len(req.Tenants))
	}
	var msg prompb.WriteRequest
	err := msg.Unmarshal(req.Tenants[0].Message)
	if n := req.Tenants[0].Series; n != len(msg.Timeseries) {
		err = errors.Join(err, fmt.Errorf("%d series are said to be in a message of %d", n, len(msg.Timeseries)))
	}
	call := &peerCall{address, req.Replica, req.Tenants[0].Tenant, msg.Timeseries, make(chan error, 1)}
	return call, bytes.Clone(req.Tenants[0].Message), err
}

// calls returns those that wait, in the order of addresses and replicas.
func (f *fakePeers) calls() []*peerCall {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := slices.Clone(f.waiting)
	slices.SortFunc(out, func(a, b *peerCall) int {
		if a.address != b.address {
			return bytes.Compare([]byte(a.address), []byte(b.address))
		}
		return a.replica - b.replica
	})
	return out
}

func (f *fakePeers) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.problem
}
