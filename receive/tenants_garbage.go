package receive

import (
	"runtime"
	"runtime/metrics"
	"sync"
)

// What a TSDB leaves behind in bytes, nearly all of it in buffers of fixed size
// that it does not use again.
const (
	// openingGarbage comes from being opened, beside what is in the logs.
	openingGarbage = 640 << 10
	// cuttingGarbage comes from cutting a block.
	cuttingGarbage = 20 << 20
)

const (
	// leastGarbage may lie about in any case.
	leastGarbage = 32 << 20
	// garbageShare is the part, as a divisor, of what is live that may lie about.
	garbageShare = 8
)

// garbage keeps a process that opens many small tenants, or cuts their blocks, from
// growing to twice what they take. That leaves more behind than the tenants
// keep, and the runtime by itself collects nothing before there is as much again as
// is live.
//
// It is about such work alone. What else the process leaves behind is for its host
// to bound, with GOGC or GOMEMLIMIT, and so is this if the host wants it. The
// buffers are the TSDB's, which has no option for their size, and to change GOGC for
// a while would be felt by the host for longer than one collection is.
type garbage struct {
	keep bool

	mu     sync.Mutex // guards what follows, and holds up such work during a collection
	bytes  int64      // since the last collection
	cycles uint64     // of the runtime's collector, then
}

// add says that some bytes were left behind, and collects them if they are too
// many. Where much is live, a collection costs much, but the runtime's own most
// often comes first.
func (g *garbage) add(bytes int64) {
	if g.keep {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(now)
	if cycles := now[0].Value.Uint64(); cycles != g.cycles {
		g.bytes, g.cycles = 0, cycles
	}
	g.bytes += bytes
	if g.bytes > max(leastGarbage, int64(now[1].Value.Uint64()/garbageShare)) {
		runtime.GC()
	}
}
