package receive

// Quorum is the rule by which what the replicas of a series answer becomes one
// verdict. It is a value, and pure.
//
// Of Replicas, Needed must accept. The verdict is
//
//	accepted   Needed replicas have accepted. Those that have not do not matter.
//	final      so many have refused for good that Needed could not be reached
//	           even if all the others accepted. Sending again cannot help,
//	           whatever else failed.
//	retryable  neither, but too many did not accept. Sending again helps once
//	           those that failed work.
//
// and it is given as soon as no answer that is still to come can change it.
type Quorum struct {
	// Replicas is on how many endpoints a series belongs.
	Replicas int
	// Needed is how many of them must accept, at least 1 and at most Replicas.
	Needed int
}

// WriteQuorum returns the quorum of writes for a replication factor: more than
// half of it, but 1 of 2, as in Thanos. Less than 1 counts as 1, more than 255
// as 255. What another receiver has replicated already concerns one replica,
// and its quorum is WriteQuorum(1).
func WriteQuorum(replicationFactor int) Quorum {
	n := min(max(replicationFactor, 1), 255)
	if n == 2 {
		return Quorum{Replicas: n, Needed: 1}
	}
	return Quorum{Replicas: n, Needed: n/2 + 1}
}

// Votes are the answers that have come from the replicas of one series. The
// zero value is none. A request has one for each of its series (or samples, if
// that is what replicas answer for); they are not safe for concurrent use.
type Votes struct {
	accepted, final, retryable uint8
	// The reason to give for each class, if there was one: stored wins over
	// duplicate, and else the one with the highest status.
	best, refusal, failure Reason
}

// Add notes what one replica answered: the most serious that became of the
// samples it was sent, or ReasonUnavailable if it did not answer and is not
// waited for any longer. It reports whether this answer decides the verdict,
// which is so for one answer, no matter in which order they come: the caller
// counts down to where it need not wait any longer. Answers beyond
// q.Replicas are ignored.
func (q Quorum) Add(v *Votes, answer Reason) (decides bool) {
	if v.count() >= q.Replicas {
		return false
	}
	_, before := q.Verdict(*v)
	v.add(answer)
	_, after := q.Verdict(*v)
	return after && !before
}

func (v *Votes) count() int { return int(v.accepted) + int(v.final) + int(v.retryable) }

func (v *Votes) add(answer Reason) {
	switch answer.Class() {
	case Accepted:
		if v.accepted == 0 || answer < v.best {
			v.best = answer
		}
		v.accepted++
	case Final:
		v.refusal = graver(v.refusal, answer)
		v.final++
	case Retryable:
		v.failure = graver(v.failure, answer)
		v.retryable++
	}
}

// graver returns the one with the higher status, or else the later in the list,
// so that the order in which they came does not show.
func graver(a, b Reason) Reason {
	if a.Status() > b.Status() || a.Status() == b.Status() && a > b {
		return a
	}
	return b
}

// Verdict returns what becomes of the series, and whether that is decided; if
// not, more answers must come. Its class does not change any more once it is
// decided, and does not depend on the order of the answers. Its reason is one
// that a replica gave.
func (q Quorum) Verdict(v Votes) (verdict Reason, decided bool) {
	accepted, final := int(v.accepted), int(v.final)
	pending := q.Replicas - v.count()
	refused := q.Replicas - q.Needed + 1 // refusals that leave too few
	switch {
	case accepted >= q.Needed:
		return v.best, true
	case final >= refused:
		return v.refusal, true
	case accepted+pending < q.Needed && final+pending < refused:
		return v.failure, true
	}
	return 0, false
}
