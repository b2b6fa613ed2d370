package receive

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/prometheus/prometheus/tsdb/wlog"

	"github.com/varve-tsdb/varve/internal/durable"
)

// logSync puts what was written to a head's logs on the disk. Those who ask
// while others are being served wait for the next round, and share it.
//
// It syncs the files by their paths, as the TSDB does not say which it writes:
// whatever file it is open as, syncing a file syncs what anybody wrote to it.
type logSync struct {
	metrics *tenantsMetrics
	sync    func(*os.File) error // that of the file, unless a test looks on
	logs    []*syncedLog

	syncing sync.Mutex // held during a round; guards logs

	mu   sync.Mutex // guards next
	next *syncRound // not begun; nil if nobody asked
}

type syncRound struct {
	done chan struct{}
	err  error // once done
}

// syncedLog is how far a log was synced.
type syncedLog struct {
	dir string
	// last is the segment that was last synced, which may grow still; those
	// before it are done with.
	last *os.File
	n    int
}

func (h *head) newLogSync() *logSync {
	s := &logSync{metrics: h.metrics, sync: h.opts.syncFile, logs: []*syncedLog{{dir: h.writeAheadLog(), n: -1}}}
	if s.sync == nil {
		s.sync = (*os.File).Sync
	}
	if h.opts.OutOfOrderWindow > 0 {
		s.logs = append(s.logs, &syncedLog{dir: h.outOfOrderLog(), n: -1})
	}
	return s
}

// wait returns when all that had been written to the logs before it was called
// is on the disk.
func (s *logSync) wait() error {
	s.mu.Lock()
	round := s.next
	if round != nil {
		s.mu.Unlock()
		<-round.done
		return round.err
	}
	round = &syncRound{done: make(chan struct{})}
	s.next = round
	s.mu.Unlock()

	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	s.next = nil // What is written from here on is for another round.
	s.mu.Unlock()
	start := time.Now()
	round.err = s.round()
	s.metrics.syncs.Observe(time.Since(start).Seconds())
	close(round.done)
	return round.err
}

func (s *logSync) round() error {
	for _, log := range s.logs {
		if err := log.catchUp(s.sync); err != nil {
			return err
		}
	}
	return nil
}

// catchUp syncs the segment that was the last and all that have come since. The
// TSDB syncs one that is full, too, but in its own time.
func (l *syncedLog) catchUp(sync func(*os.File) error) error {
	// The list comes first: a segment that was not the last then is complete.
	first, last, err := wlog.Segments(l.dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", l.dir, err)
	}
	if l.last != nil {
		if err := sync(l.last); err != nil {
			return fmt.Errorf("sync %s: %w", l.last.Name(), err)
		}
	}
	if last <= l.n {
		return nil
	}
	// What was cut into blocks is deleted from the front.
	for n := max(first, l.n+1); n <= last; n++ {
		if err := l.move(n, sync); err != nil {
			return err
		}
	}
	return durable.SyncDir(l.dir)
}

// move syncs another segment and keeps it open, which is how an error in writing
// it back is sure to be told.
func (l *syncedLog) move(n int, sync func(*os.File) error) error {
	f, err := os.OpenFile(wlog.SegmentName(l.dir, n), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // Deleted just now: it is all in blocks.
	}
	if err != nil {
		return err
	}
	if err := sync(f); err != nil {
		return errors.Join(fmt.Errorf("sync %s: %w", f.Name(), err), f.Close())
	}
	if l.last != nil {
		_ = l.last.Close() // It was only synced.
	}
	l.last, l.n = f, n
	return nil
}

// close gives the files back. Nobody may wait any more.
func (s *logSync) close() {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	for _, log := range s.logs {
		if log.last != nil {
			_ = log.last.Close()
			log.last = nil
		}
	}
}
