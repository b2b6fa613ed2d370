package block

import (
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// Pending is what a Shipper still has to upload.
type Pending struct {
	Blocks int
	// Oldest is when the oldest of them was cut; zero if there is none.
	Oldest time.Time
}

func (p Pending) age(now time.Time) time.Duration {
	if p.Blocks == 0 {
		return 0
	}
	return max(0, now.Sub(p.Oldest))
}

func pendingOf(metas []*Meta) Pending {
	p := Pending{Blocks: len(metas)}
	for _, m := range metas {
		if cut := ulid.Time(m.ULID.Time()); p.Oldest.IsZero() || cut.Before(p.Oldest) {
			p.Oldest = cut
		}
	}
	return p
}

// progress knows what is pending in each directory. It is safe for concurrent
// use.
type progress struct {
	mu   sync.Mutex // guards dirs
	dirs map[string]Pending
}

func (p *progress) set(dir string, pending Pending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dirs[dir] = pending
}

// keep forgets directories that are no longer shipped from.
func (p *progress) keep(dirs []shipDir) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := make(map[string]Pending, len(dirs))
	for _, d := range dirs {
		kept[d.dir] = p.dirs[d.dir]
	}
	p.dirs = kept
}

func (p *progress) pending() Pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all Pending
	for _, d := range p.dirs {
		all.Blocks += d.Blocks
		if d.Blocks > 0 && (all.Oldest.IsZero() || d.Oldest.Before(all.Oldest)) {
			all.Oldest = d.Oldest
		}
	}
	return all
}
