package fairqueue

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Options are the settings of a Queue. All but PerTenant have to be positive.
type Options struct {
	Concurrent int           // jobs run at a time
	PerTenant  int           // jobs of one tenant do; 0 means no limit but Concurrent
	Queued     int           // jobs wait; of more the last of the tenant with most is refused
	Wait       time.Duration // is how long each does
}

// Queue lets jobs in. When one ends, the next is of the tenant that has the fewest
// running, and among those of the one whose turn was longest ago. All methods may run
// at once.
type Queue struct {
	opts    Options
	metrics *Metrics

	mu      sync.Mutex // guards what follows
	running int
	waiting int
	turn    int64              // counts jobs that were let in and tenants that came
	tenants map[string]*tenant // of those with jobs
}

// tenant is the jobs of one tenant.
type tenant struct {
	running int
	turn    int64 // when its last job was let in, or it came
	waiting []*Place
}

// Place is that of a job in the queue.
type Place struct {
	queue  *Queue
	tenant string
	let    chan struct{} // closed when the job may run
	out    chan struct{} // closed when it has lost its place to another tenant's
}

// New returns a Queue without jobs.
func New(opts Options, metrics *Metrics) *Queue {
	return &Queue{opts: opts, metrics: metrics, tenants: map[string]*tenant{}}
}

// Refused is why a job was not let in.
type Refused struct {
	Full   bool          // as many wait as may, and of this tenant most; otherwise time was up
	Waited time.Duration // is how long it did
}

// Error says which.
func (r *Refused) Error() string {
	if r.Full {
		return "too many wait"
	}
	return fmt.Sprintf("waited %s", r.Waited)
}

// Enter waits until a job of the tenant may run. It has to leave its place when it is
// done. The error is a *Refused, or says that ctx ended.
func (q *Queue) Enter(ctx context.Context, tenant string) (*Place, error) {
	began := time.Now()
	p, err := q.join(tenant)
	if err != nil {
		return nil, err
	}
	defer func() { q.metrics.Wait.Observe(time.Since(began).Seconds()) }()
	select { // a place that is free is better than the news that time is up
	case <-p.let:
		return p, nil
	default:
	}
	patience := time.NewTimer(q.opts.Wait)
	defer patience.Stop()
	select {
	case <-p.let:
		return p, nil
	case <-ctx.Done():
		err = fmt.Errorf("waited for one of %d running to end: %w", q.opts.Concurrent, ctx.Err())
	case <-p.out:
	case <-patience.C:
		err = &Refused{Waited: time.Since(began)}
	}
	if !q.giveUp(p) {
		return p, nil // it was let in at that moment
	}
	if closed(p.out) {
		return nil, &Refused{Full: true, Waited: time.Since(began)}
	}
	if _, ok := err.(*Refused); ok {
		q.metrics.late.Inc()
	}
	return nil, err
}

// join lets a job in or puts it in the queue.
func (q *Queue) join(name string) (*Place, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.of(name)
	p := &Place{queue: q, tenant: name, let: make(chan struct{}), out: make(chan struct{})}
	t.waiting = append(t.waiting, p)
	q.waiting++
	q.admit()
	if closed(p.let) {
		return p, nil
	}
	if q.waiting <= q.opts.Queued {
		return p, nil
	}
	q.metrics.full.Inc()
	most := q.mostWaiting(t)
	last := most.waiting[len(most.waiting)-1]
	q.remove(last)
	if last == p {
		return nil, &Refused{Full: true}
	}
	close(last.out)
	return p, nil
}

// mostWaiting returns the tenant of which most jobs wait, t if no other has more.
// q.mu is held.
func (q *Queue) mostWaiting(t *tenant) *tenant {
	most := t
	for _, other := range q.tenants {
		if len(other.waiting) > len(most.waiting) {
			most = other
		}
	}
	return most
}

// of returns what is known of a tenant. q.mu is held.
func (q *Queue) of(name string) *tenant {
	t := q.tenants[name]
	if t == nil {
		q.turn++
		t = &tenant{turn: q.turn}
		q.tenants[name] = t
	}
	return t
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// giveUp takes a job out of the queue, or returns false because it was let in.
func (q *Queue) giveUp(p *Place) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if closed(p.let) {
		return false
	}
	q.remove(p)
	return true
}

// remove takes a job out of the queue, if it still waits there. q.mu is held.
func (q *Queue) remove(p *Place) {
	t := q.tenants[p.tenant]
	if t == nil {
		return
	}
	for i, other := range t.waiting {
		if other == p {
			t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
			q.waiting--
			break
		}
	}
	q.forget(p.tenant)
	q.observe()
}

// Leave gives the place to the next. It is called once, or once more after each Back.
func (p *Place) Leave() {
	q := p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	q.tenants[p.tenant].running--
	q.forget(p.tenant)
	q.admit()
}

// Back takes a place that was left without waiting for one, for a job that holds what
// others could need: should it wait for them they might wait for each other. For a
// while more jobs than Concurrent may run.
func (p *Place) Back() {
	q := p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running++
	q.of(p.tenant).running++
	q.observe()
}

// admit lets in as many as there is room for. q.mu is held.
func (q *Queue) admit() {
	for q.running < q.opts.Concurrent {
		t := q.chooseNext()
		if t == nil {
			break
		}
		p := t.waiting[0]
		t.waiting = t.waiting[1:]
		q.waiting--
		q.running++
		t.running++
		q.turn++
		t.turn = q.turn
		close(p.let)
	}
	q.observe()
}

// chooseNext returns the tenant whose turn it is, nil if none waits that may have a
// job run. q.mu is held.
func (q *Queue) chooseNext() (next *tenant) {
	for _, t := range q.tenants {
		if len(t.waiting) == 0 || q.opts.PerTenant > 0 && t.running >= q.opts.PerTenant {
			continue
		}
		if next == nil || t.running < next.running || t.running == next.running && t.turn < next.turn {
			next = t
		}
	}
	return next
}

// forget drops a tenant without jobs. q.mu is held.
func (q *Queue) forget(name string) {
	if t := q.tenants[name]; t.running == 0 && len(t.waiting) == 0 {
		delete(q.tenants, name)
	}
}

// observe shows how things stand. q.mu is held.
func (q *Queue) observe() {
	q.metrics.Running.Set(float64(q.running))
	q.metrics.Waiting.Set(float64(q.waiting))
}
