package cache

import (
	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"
)

// pageOverhead is about what a page takes in memory besides its content.
const pageOverhead = 160

// memory remembers pages within a budget of bytes. A nil memory remembers
// nothing.
type memory struct {
	pages *otter.Cache[pageKey, []byte]
}

func newMemory(bytes int64) (*memory, error) {
	if bytes < 0 {
		return nil, nil
	}
	pages, err := otter.New(&otter.Options[pageKey, []byte]{
		MaximumWeight: uint64(bytes),
		Weigher:       func(_ pageKey, content []byte) uint32 { return uint32(len(content)) + pageOverhead },
		StatsRecorder: stats.NewCounter(),
		// What is over the budget goes before Set returns.
		Executor: func(fn func()) { fn() },
	})
	if err != nil {
		return nil, err
	}
	return &memory{pages}, nil
}

func (m *memory) get(key pageKey) ([]byte, bool) {
	if m == nil {
		return nil, false
	}
	return m.pages.GetIfPresent(key)
}

func (m *memory) put(key pageKey, content []byte) {
	if m != nil {
		m.pages.Set(key, content)
	}
}

func (m *memory) forget(key pageKey) {
	if m != nil {
		m.pages.Invalidate(key)
	}
}

// bytes is how much the pages take.
func (m *memory) bytes() float64 {
	if m == nil {
		return 0
	}
	return float64(m.pages.WeightedSize())
}

func (m *memory) evictions() float64 {
	if m == nil {
		return 0
	}
	return float64(m.pages.Stats().Evictions)
}
