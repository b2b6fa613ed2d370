package receive

// seriesOutcome is what became of one series of a request.
type seriesOutcome struct {
	// reason is the gravest of what became of its samples. Those that are there
	// already count as stored.
	reason Reason
	// absent: the open transaction has nothing of the series, and its failure
	// does not concern it.
	absent bool
}

// askOutcomes has the run note what becomes of each series. It costs nothing for
// those that are simply stored.
func (a *appendRun) askOutcomes() {
	n := a.req.NumSeries()
	if cap(a.outcomesRoom) < n {
		a.outcomesRoom = make([]seriesOutcome, n)
	}
	a.outcomes = a.outcomesRoom[:n]
	clear(a.outcomes)
}

// pick has the run append only some of the series, by their positions.
func (a *appendRun) pick(picked []uint32) { a.picked, a.picky = picked, true }

// pickAll undoes pick.
func (a *appendRun) pickAll() { a.picked, a.picky = nil, false }

// numPicked returns how many series are to be appended.
func (a *appendRun) numPicked() int {
	if a.picky {
		return len(a.picked)
	}
	return a.req.NumSeries()
}

// pickedAt returns the position of the i-th series that is to be appended.
func (a *appendRun) pickedAt(i int) int {
	if a.picky {
		return int(a.picked[i])
	}
	return i
}

// settle notes what became of samples of the series at hand.
func (a *appendRun) settle(r Reason) {
	if a.outcomes != nil {
		a.outcomes[a.at].worsen(r)
	}
}

func (o *seriesOutcome) worsen(r Reason) { o.reason = graver(o.reason, r) }

// settleSeries notes that all samples of the series at hand have been given to
// the transaction.
func (a *appendRun) settleSeries() {
	if a.outcomes != nil {
		a.outcomes[a.at].absent = !a.target.stored && !a.target.repeated
	}
}

// settleBroken notes that the transaction has failed for all series in it.
func (a *appendRun) settleBroken() {
	switch {
	case a.outcomes == nil:
	case a.second:
		for _, p := range a.later {
			a.outcomes[p.at].worsen(a.tx.broken)
		}
	default:
		for i := range a.numPicked() {
			if o := &a.outcomes[a.pickedAt(i)]; !o.absent {
				o.worsen(a.tx.broken)
			}
		}
	}
}
