package receive

import "time"

// sampleRate is what a tenant has sent of late: a bucket that fills with each
// sample, runs out at the rate allowed, and takes more as long as it is below
// the burst. So a request of any size passes in the end, and the next waits the
// longer for it. The zero value is an empty bucket.
type sampleRate struct {
	level float64
	at    time.Time // when level was so
}

// burst returns the size of the bucket.
func (l *Limits) burst() float64 {
	if l.SamplesBurst > 0 {
		return l.SamplesBurst
	}
	return l.SamplesPerSecond * defaultBurst.Seconds()
}

// wait returns how long it takes until something may be taken; zero is now.
func (r *sampleRate) wait(now time.Time, l *Limits) time.Duration {
	if l.SamplesPerSecond <= 0 {
		*r = sampleRate{}
		return 0
	}
	if passed := now.Sub(r.at).Seconds(); passed > 0 {
		r.level = max(r.level-passed*l.SamplesPerSecond, 0)
		r.at = now
	}
	over := r.level - l.burst()
	if over < 0 {
		return 0
	}
	return max(secondsUpTo(over/l.SamplesPerSecond, mostRateWait), time.Millisecond)
}

// runsOut returns how long it takes until the bucket is empty, if nothing comes.
func (r *sampleRate) runsOut(l *Limits) time.Duration {
	return secondsUpTo(r.level/l.SamplesPerSecond, mostRateKept)
}

// secondsUpTo bounds what may be longer than time.Duration is, as a limit may be as
// small as one likes.
func secondsUpTo(seconds float64, most time.Duration) time.Duration {
	return time.Duration(min(seconds, most.Seconds()) * float64(time.Second))
}

// mostRateKept bounds how long is remembered what a tenant has sent.
const mostRateKept = 24 * time.Hour

// mostRateWait bounds what a sender is told to wait, so that it notices before
// long that a limit was raised.
const mostRateWait = time.Minute

// add counts n samples; fewer than none are given back.
func (r *sampleRate) add(n int) { r.level = max(r.level+float64(n), 0) }
