package receive

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
)

// clusterNode is a receiver that stores and routes.
type clusterNode struct {
	address string
	dir     string
	fault   atomic.Int32

	mu      sync.RWMutex // held for writing while it is restarted
	tenants *Tenants
	router  *Router
	handler *Handler
}

// What can be wrong with a clusterNode.
const (
	nodeWorks int32 = iota
	nodeKilled
	nodeHangs
)

// cluster are receivers in one process that reach each other directly.
type cluster struct {
	nodes []*clusterNode
	rings atomic.Pointer[Hashrings]
	acked atomic.Int64 // requests
}

func newCluster(t *testing.T, n int) *cluster {
	c := &cluster{}
	dir := t.TempDir()
	for i := range n {
		node := &clusterNode{address: fmt.Sprintf("receive-%d:10901", i), dir: filepath.Join(dir, fmt.Sprint(i))}
		c.nodes = append(c.nodes, node)
		c.start(t, node)
	}
	t.Cleanup(func() {
		for _, node := range c.nodes {
			c.stop(t, node)
		}
	})
	return c
}

// grow makes the first n nodes the hashring.
func (c *cluster) grow(t *testing.T, n int) {
	var addresses []string
	for _, node := range c.nodes[:n] {
		addresses = append(addresses, node.address)
	}
	c.rings.Store(testHashrings(t, AlgorithmKetama, 3, addresses...))
}

func (c *cluster) start(t testing.TB, node *clusterNode) {
	tenants, err := OpenTenants(node.dir, TenantsOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	router, err := NewRouter(c.rings.Load, node.address, c.dial, RouterOptions{
		ForwardTimeout: 300 * time.Millisecond, MinBackoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
	})
	if err != nil {
		t.Error(err)
		return
	}
	handler, err := NewHandler(tenants, HandlerOptions{Router: router})
	if err != nil {
		t.Error(err)
	}
	node.tenants, node.router, node.handler = tenants, router, handler
}

func (c *cluster) stop(t testing.TB, node *clusterNode) {
	if err := node.router.Close(); err != nil {
		t.Error(err)
	}
	if err := node.tenants.Close(); err != nil {
		t.Error(err)
	}
}

func (c *cluster) restart(t testing.TB, node *clusterNode) {
	node.mu.Lock()
	defer node.mu.Unlock()
	c.stop(t, node)
	c.start(t, node)
}

func (c *cluster) dial(e Endpoint) (Peer, error) {
	i := slices.IndexFunc(c.nodes, func(n *clusterNode) bool { return n.address == e.Address })
	return PeerFunc(c.nodes[i].write), nil
}

// write is a call from another node.
func (n *clusterNode) write(ctx context.Context, req *PeerRequest) error {
	switch n.fault.Load() {
	case nodeKilled:
		return fmt.Errorf("connection refused: %w", ErrUnavailable)
	case nodeHangs:
		<-ctx.Done()
		return ctx.Err()
	}
	if !n.mu.TryRLock() {
		return fmt.Errorf("connection refused: %w", ErrUnavailable)
	}
	defer n.mu.RUnlock()
	return n.handler.WritePeer(ctx, req)
}

// send sends a sender's request, which fails if the node cannot be reached.
func (n *clusterNode) send(t testing.TB, req rwRequest) (status int, text string) {
	if n.fault.Load() != nodeWorks || !n.mu.TryRLock() {
		return http.StatusBadGateway, "not reached"
	}
	defer n.mu.RUnlock()
	rec := req.send(t, n.handler)
	return rec.Code, rec.Body.String()
}

// clusterSender sends samples of its own series, each with the next time, and
// comes again until a request is acknowledged, as a sender does.
type clusterSender struct {
	c       *cluster
	id      int
	two     bool
	acked   map[string][]int64 // times by series
	retries int
}

func (s *clusterSender) run(t *testing.T, stop <-chan struct{}) {
	const series = 20
	rnd := rand.New(rand.NewPCG(uint64(s.id), 1))
	for at := nowMs(); ; at++ {
		select {
		case <-stop:
			return
		default:
		}
		msg := v1()
		for i := range series {
			msg.Timeseries = append(msg.Timeseries, v1Series(named(fmt.Sprintf("sender_%d", s.id), "n", fmt.Sprint(i)), at))
		}
		if !s.deliver(t, rnd, msg, stop) {
			return
		}
		for _, ts := range msg.Timeseries {
			name := clusterLabels(ts)
			s.acked[name] = append(s.acked[name], at)
		}
	}
}

func (s *clusterSender) deliver(t *testing.T, rnd *rand.Rand, msg *prompb.WriteRequest, stop <-chan struct{}) bool {
	req := rwRequest{message: msg}
	if s.two {
		req.message = v2Of(msg)
	}
	for {
		members := len(s.c.rings.Load().Endpoints())
		status, text := s.c.nodes[rnd.IntN(members)].send(t, req)
		switch {
		case status == http.StatusNoContent:
			s.c.acked.Add(1)
			return true
		case status < 500:
			t.Errorf("good samples are answered %d: %s", status, text)
			return false
		}
		s.retries++
		select {
		case <-stop:
			return false
		case <-time.After(time.Millisecond):
		}
	}
}

func clusterLabels(s prompb.TimeSeries) string {
	return fmt.Sprintf(`{__name__="%s", n="%s", tenant_id="default-tenant"}`, seriesName(s), s.Labels[1].Value)
}

// TestReplicationLosesNothing has senders write to three receivers with
// replication factor 3, of which each in turn is killed, hangs and is restarted,
// and then the hashring grows to five, and the same goes on. Each acknowledged
// sample must be on two receivers at least, so that any one may be lost; and at
// no time may the others stop to acknowledge.
func TestReplicationLosesNothing(t *testing.T) {
	leakCheck(t)
	c := newCluster(t, 5)
	c.grow(t, 3)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
	defer end()
	var senders []*clusterSender
	for id := range 4 {
		s := &clusterSender{c: c, id: id, two: id%2 == 1, acked: map[string][]int64{}}
		senders = append(senders, s)
		wg.Go(func() { s.run(t, stop) })
	}
	progress := func(members int, what string, node *clusterNode) {
		t.Helper()
		deadline := time.Now().Add(5 * time.Second)
		for want := c.acked.Load() + 20; c.acked.Load() < want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("of %d receivers %s is %s, and the others acknowledge nothing", members, node.address, what)
			}
		}
	}
	for _, members := range []int{3, 5} {
		c.grow(t, members)
		for _, node := range c.nodes[:members] {
			node.fault.Store(nodeKilled)
			progress(members, "killed", node)
			node.fault.Store(nodeHangs)
			progress(members, "hung", node)
			node.fault.Store(nodeWorks)
			c.restart(t, node)
			progress(members, "restarted", node)
		}
	}
	end()
	found := c.samples(t)
	for _, s := range senders {
		for series, times := range s.acked {
			for _, at := range times {
				if n := found[series][at]; n < 2 {
					t.Fatalf("%s at %d is acknowledged and on %d receivers", series, at, n)
				}
			}
		}
		t.Logf("sender %d had to come again %d times", s.id, s.retries)
	}
	t.Logf("%d requests are acknowledged", c.acked.Load())
}

// samples returns on how many nodes each sample is.
func (c *cluster) samples(t *testing.T) map[string]map[int64]int {
	found := map[string]map[int64]int{}
	for _, node := range c.nodes {
		for _, s := range mustReadAll(t, node.tenants) {
			if found[s.labels] == nil {
				found[s.labels] = map[int64]int{}
			}
			for _, p := range s.points {
				found[s.labels][p.t]++
			}
		}
	}
	return found
}
