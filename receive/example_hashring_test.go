package receive_test

import (
	"fmt"

	"github.com/varve-tsdb/varve/receive"
)

// Where a series goes: the hashrings once, the tenant's once a request, then
// series by series without allocating.
func ExampleHashrings() {
	hashrings, err := receive.ParseHashrings([]byte(`[
	  {"hashring": "team-a", "tenants": ["a-*"], "tenant_matcher_type": "glob", "endpoints": ["receive-a:10901"]},
	  {"hashring": "rest", "algorithm": "ketama", "endpoints": [
	    {"address": "receive-0:10901", "az": "eu-1a"},
	    {"address": "receive-1:10901", "az": "eu-1b"},
	    {"address": "receive-2:10901", "az": "eu-1b"}
	  ]}
	]`), receive.HashringsOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, tenant := range []string{"a-1", "b"} {
		ring, err := hashrings.Resolve(tenant)
		if err != nil {
			fmt.Println(err)
			return
		}
		var hash receive.SeriesHash
		hash.Reset(tenant)
		replicas := make([]uint32, ring.ReplicationFactor())
		for _, instance := range []string{"node-1", "node-2"} {
			hash.Label([]byte("__name__"), []byte("up"))
			hash.Label([]byte("instance"), []byte(instance))
			ring.Place(hash.Sum(), replicas)
			for _, r := range replicas {
				fmt.Println(tenant, instance, ring.Name(), hashrings.Endpoints()[r].Address)
			}
		}
	}
	// Output:
	// a-1 node-1 team-a receive-a:10901
	// a-1 node-2 team-a receive-a:10901
	// b node-1 rest receive-1:10901
	// b node-2 rest receive-2:10901
}

// A file that cannot be used says all that is wrong with it.
func ExampleParseHashrings() {
	_, err := receive.ParseHashrings([]byte(`[
	  {"hashring": "rest", "algoritm": "ketama", "endpoints": ["receive-0:10901", "receive-0:10901"]}
	]`), receive.HashringsOptions{ReplicationFactor: 3})
	fmt.Println(err)
	// Output:
	// hashring[0] "rest": algoritm: the key is not known: mind its spelling, or leave it out
	// hashring[0] "rest": endpoints[1]: "receive-0:10901" is endpoints[0] already: leave one of them out
	// hashring[0] "rest": endpoints: 2 are too few for the replication factor 3: add some, or lower it
}

// Three replicas, of which two must have a series: it is settled by the second
// answer that agrees, whatever the third will be.
func ExampleQuorum() {
	quorum := receive.WriteQuorum(3)
	var votes receive.Votes
	for _, answer := range []receive.Reason{receive.ReasonUnavailable, receive.ReasonStored, receive.ReasonDuplicate} {
		if quorum.Add(&votes, answer) {
			verdict, _ := quorum.Verdict(votes)
			fmt.Println("after", answer, "the series is", verdict)
		}
	}
	// Output: after duplicate the series is stored
}
