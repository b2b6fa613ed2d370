package receive

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/storage"
)

// aloneKey marks a context by which an appender is opened that suffers from no other,
// as none is committed before it has ended. So it is to be short. Others may suffer:
// their Commit returns errAppendAgain then, or their missedSome returns true after it.
// A context goes through whatever a host puts around Tenants.
type aloneKey struct{}

func isAlone(ctx context.Context) bool { return ctx.Value(aloneKey{}) != nil }

// missing is what tells, after its commit, whether it has left out samples that it
// had taken.
type missing interface{ missedSome() bool }

// appendMark is what a run was like before a transaction.
type appendMark struct {
	tally                 tally
	expanded              int64
	later, lone, doubtful int
}

func (a *appendRun) mark() appendMark {
	return appendMark{a.tally, a.expanded, len(a.later), len(a.lone), len(a.doubtful)}
}

// back makes the run what it was like.
func (a *appendRun) back(to *appendMark) {
	a.tally, a.expanded = to.tally, to.expanded
	a.later, a.lone, a.doubtful = a.later[:to.later], a.lone[:to.lone], a.doubtful[:to.doubtful]
	a.learnt = a.learnt[:0]
	a.tx = appendTx{}
	a.seen.reset()
	a.named.reset()
	if !a.second {
		clear(a.outcomes)
	}
}

// transact calls all, which appends and commits, and does so once more, alone, if
// the storage asks for that, or if its commit has not stored what it had taken:
// the verdicts are those of the second time then. The error is that of all.
func (a *appendRun) transact(all func() error) error {
	start := a.mark()
	if err := all(); err != nil || !a.tx.again && !a.tx.missed {
		return err
	}
	missed, exemplars := a.tx.missed, a.tally.exemplars
	a.back(&start)
	a.alone, a.thorough = true, a.thorough || missed
	err := all()
	a.alone = false
	if missed {
		// The first time has stored them, whatever became of their samples.
		a.tally.exemplars = exemplars
	}
	return err
}

// openAppender opens the transaction.
func (a *appendRun) openAppender(ctx context.Context) (storage.AppenderV2, error) {
	if a.alone {
		ctx = context.WithValue(ctx, aloneKey{}, true)
	}
	return a.to.Appender(ctx, a.tenant)
}

// commitAgain notes what a commit asks for by err or has left undone. It returns
// true if the transaction is not to be taken for failed.
func (a *appendRun) commitAgain(app storage.AppenderV2, err error) bool {
	if err != nil {
		a.tx.again = !a.alone && errors.Is(err, errAppendAgain)
		return a.tx.again
	}
	// Who cannot be asked what is there is believed.
	if _, ok := a.to.(StoredQuerier); !ok {
		return false
	}
	if m, ok := app.(missing); ok && !a.alone && m.missedSome() {
		a.tx.missed = true
	}
	return false
}
