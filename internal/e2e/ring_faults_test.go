package e2e

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
)

// ringSender writes batches of its own series one after the other, each to
// whichever receiver takes it, as senders do.
type ringSender struct {
	id    int
	acked []int64 // times of the batches that were acknowledged, all of them
}

const ringSenderSeries = 50

func (s *ringSender) batch(at int64) (series []prompb.TimeSeries) {
	for i := range ringSenderSeries {
		series = append(series, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: "ring_load"}, {Name: "i", Value: fmt.Sprint(i)}, {Name: "sender", Value: fmt.Sprint(s.id)}},
			Samples: []prompb.Sample{{Value: float64(at % 1000), Timestamp: at}},
		})
	}
	return series
}

// run sends until ctx is done. Only an answer that is final is an error: what is
// not acknowledged is sent again, to the next receiver.
func (s *ringSender) run(ctx context.Context, members func() []*receiver, refused *atomic.Int64) error {
	for next := s.id; ctx.Err() == nil; {
		at := time.Now().UnixMilli()
		batch := s.batch(at)
		for ctx.Err() == nil {
			all := members()
			r := all[next%len(all)]
			next++
			within, cancel := context.WithTimeout(ctx, 10*time.Second)
			status, text, err := r.post(within, batch)
			cancel()
			if err == nil && status/100 == 2 {
				s.acked = append(s.acked, at)
				break
			}
			if err == nil && status/100 == 4 {
				return fmt.Errorf("sender %d was refused for good: %d: %s", s.id, status, text)
			}
			refused.Add(1)
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// What was acknowledged is stored, although each receiver in turn is killed and
// hangs, and two more join. Three copies are made, and two of them suffice.
func TestRingLosesNothing(t *testing.T) {
	binary := example(t, "receive")
	ring := []*receiver{newReceiver(t), newReceiver(t), newReceiver(t), newReceiver(t), newReceiver(t)}
	file := writeFile(t, "hashrings.json", hashringJSON(t, "ketama", ring[:3]...))
	flags := hashring{flag: "--receive.hashrings-file=" + file, replicas: 3}
	begin := func(i int) { ring[i].startVarve(t, binary, fmt.Sprintf("member-%d", i), flags, ring[i].local()) }
	for i := range 3 {
		begin(i)
	}

	ctx, stop := context.WithCancel(t.Context())
	var (
		members atomic.Pointer[[]*receiver] // that senders know of
		retried atomic.Int64
		wg      sync.WaitGroup
		senders [4]ringSender
	)
	first := ring[:3]
	members.Store(&first)
	for id := range senders {
		senders[id].id = id
		wg.Go(func() {
			if err := senders[id].run(ctx, func() []*receiver { return *members.Load() }, &retried); err != nil {
				t.Error(err)
			}
		})
	}
	defer wg.Wait()
	defer stop()

	for i := range 3 {
		time.Sleep(time.Second)
		ring[i].kill()
		time.Sleep(time.Second)
		begin(i)
		time.Sleep(time.Second)
		ring[i].signal(syscall.SIGSTOP)
		time.Sleep(6 * time.Second) // longer than the forward timeout
		ring[i].signal(syscall.SIGCONT)
	}
	begin(3)
	begin(4)
	if err := os.WriteFile(file+".new", []byte(hashringJSON(t, "ketama", ring...)), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	members.Store(&ring)
	time.Sleep(15 * time.Second) // each looks at the file every 10
	stop()
	wg.Wait()
	time.Sleep(6 * time.Second) // for what is still being forwarded

	copies := map[string]int{}
	for i, r := range ring {
		if err := r.terminate(t, time.Minute); err != nil {
			t.Fatalf("%s ended with %v after SIGTERM", r.name, err)
		}
		stored := r.stored(t, "default-tenant")
		t.Logf("%s has %d series", r.name, len(stored))
		if len(stored) == 0 {
			t.Errorf("member %d has got no share", i)
		}
		for series, samples := range stored {
			seen := map[string]bool{}
			for _, s := range samples {
				seen[s] = true
			}
			for s := range seen {
				copies[series+" "+s]++
			}
		}
	}
	lost, single, acked := 0, 0, 0
	for _, s := range senders {
		for _, at := range s.acked {
			for i := range ringSenderSeries {
				acked++
				switch copies[fmt.Sprintf(`{__name__="ring_load", i="%d", sender="%d"} %v@%d`, i, s.id, float64(at%1000), at)] {
				case 0:
					lost++
				case 1:
					single++
				}
			}
		}
	}
	t.Logf("%d samples were acknowledged, %d requests had to be sent again", acked, retried.Load())
	if acked == 0 || lost > 0 || single > 0 {
		t.Errorf("of %d acknowledged samples %d are lost and %d are on one receiver only", acked, lost, single)
	}
}
