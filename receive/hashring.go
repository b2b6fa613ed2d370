package receive

import "slices"

// HashringAlgorithm is how a hashring assigns series to endpoints.
type HashringAlgorithm string

// The algorithms, by their names in JSON.
const (
	// AlgorithmHashmod numbers the endpoints in the order of their addresses
	// and takes the hash modulo their number. Replicas go to the endpoints
	// that follow. If an endpoint comes or goes, nearly all series move.
	AlgorithmHashmod HashringAlgorithm = "hashmod"
	// AlgorithmKetama is consistent hashing: each endpoint owns 1,000 sections
	// of a ring, so that few series move when an endpoint comes or goes.
	// Replicas go to the owners of the sections that follow, spread evenly over
	// the zones.
	AlgorithmKetama HashringAlgorithm = "ketama"
)

// Endpoint is a receiver that hashrings place series on.
type Endpoint struct {
	// Address is where it takes forwarded writes by gRPC; the place of an
	// endpoint on a hashring depends on this text alone.
	Address string
	// CapnProtoAddress is where it takes them by Cap'n Proto. Where JSON does
	// not say, it is port 19391 on the host of Address.
	CapnProtoAddress string
	// Zone is its availability zone ("az" in JSON), empty if none is given.
	Zone string
}

// Hashring places the series of one tenant: those of its endpoints that take
// the tenant, and which of them takes which series. It comes from
// Hashrings.Resolve, does not change, and is safe for concurrent use.
type Hashring struct {
	config   *hashringConfig
	members  []uint32 // indices into Hashrings.Endpoints, by address
	replicas int
	sections *ketamaSections // nil: hashmod
}

// Place writes the indices into Hashrings.Endpoints of the endpoints that a
// series belongs on, the first replica first, into the slice, and returns how
// many it wrote: all of it, but no more than ReplicationFactor. They are
// different from each other. hash is what SeriesHash makes of the series. It
// does not allocate.
func (r *Hashring) Place(hash uint64, into []uint32) int {
	if len(into) > r.replicas {
		into = into[:r.replicas]
	}
	if r.sections != nil {
		return copy(into, r.sections.find(hash))
	}
	for n := range into {
		// The sum may overflow, as it does in Thanos.
		into[n] = r.members[(hash+uint64(n))%uint64(len(r.members))]
	}
	return len(into)
}

// Name returns the name of the hashring, or its position in the array, from 0,
// if it has none.
func (r *Hashring) Name() string { return r.config.name }

// Endpoints returns the indices into Hashrings.Endpoints of all endpoints that
// series of the tenant may be placed on, by address: with shuffle sharding the
// tenant's shard. The slice is the caller's.
func (r *Hashring) Endpoints() []uint32 { return slices.Clone(r.members) }

// ReplicationFactor returns on how many endpoints each series belongs.
func (r *Hashring) ReplicationFactor() int { return r.replicas }
