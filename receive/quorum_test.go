package receive

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestWriteQuorum(t *testing.T) {
	for replicationFactor, needed := range map[int]int{-1: 1, 0: 1, 1: 1, 2: 1, 3: 2, 4: 3, 5: 3, 6: 4, 7: 4, 255: 128} {
		want := Quorum{Replicas: max(replicationFactor, 1), Needed: needed}
		if got := WriteQuorum(replicationFactor); got != want {
			t.Errorf("replication factor %d: %+v, want %+v", replicationFactor, got, want)
		}
	}
}

// modelClass is what a sender must be told once every replica has answered:
// found by trying what the best is that sending again could lead to, when
// replicas that refused for good do so again.
func modelClass(q Quorum, answers []Class) Class {
	accepted, possible := 0, 0
	for _, a := range answers {
		if a == Accepted {
			accepted++
		}
		if a != Final {
			possible++
		}
	}
	switch {
	case accepted >= q.Needed:
		return Accepted
	case possible >= q.Needed:
		return Retryable
	}
	return Final
}

// modelDecided tries all that the answers to come can be. The verdict is
// decided if they all lead to the same.
func modelDecided(q Quorum, answers []Class) (verdict Class, decided bool) {
	verdicts := map[Class]bool{}
	var try func(answers []Class)
	try = func(answers []Class) {
		if len(answers) == q.Replicas {
			verdicts[modelClass(q, answers)] = true
			return
		}
		for _, next := range []Class{Accepted, Final, Retryable} {
			try(append(slices.Clone(answers), next))
		}
	}
	try(answers)
	for verdict = range verdicts {
		break
	}
	return verdict, len(verdicts) == 1
}

var classReasons = map[Class]Reason{Accepted: ReasonStored, Final: ReasonTooOld, Retryable: ReasonUnavailable}

// Every sequence of answers that replicas can give, which is every set of
// failures in every order, and after each answer the question whether to wait.
func TestQuorumAgainstModel(t *testing.T) {
	for replicas := 1; replicas <= 5; replicas++ {
		for needed := 1; needed <= replicas; needed++ {
			q := Quorum{Replicas: replicas, Needed: needed}
			t.Run(fmt.Sprintf("%d of %d", needed, replicas), func(t *testing.T) {
				checkAnswers(t, q, Votes{}, nil, 0)
			})
		}
	}
}

func checkAnswers(t *testing.T, q Quorum, v Votes, answers []Class, decisions int) {
	verdict, decided := q.Verdict(v)
	want, wantDecided := modelDecided(q, answers)
	if decided != wantDecided || decided && verdict.Class() != want {
		t.Fatalf("after %v: %v (%v), decided: %v; want %v, decided: %v", answers, verdict, verdict.Class(), decided, want, wantDecided)
	}
	if decided && verdict != classReasons[want] {
		t.Fatalf("after %v: reason %v was given by no replica", answers, verdict)
	}
	if wantOnce := map[bool]int{true: 1}[decided]; decisions != wantOnce {
		t.Fatalf("after %v: Add told %d times that the verdict is decided, which is %v", answers, decisions, decided)
	}
	if len(answers) == q.Replicas {
		after := v
		if q.Add(&after, ReasonFailed) || after != v {
			t.Fatalf("after %v: one more answer than there are replicas changed something", answers)
		}
		return
	}
	for class, reason := range classReasons {
		next, told := v, decisions
		if q.Add(&next, reason) {
			told++
		}
		checkAnswers(t, q, next, append(slices.Clone(answers), class), told)
	}
}

// What the user sees, in words.
func TestQuorumExamples(t *testing.T) {
	const stored, duplicate, old, conflict, failed, away = ReasonStored, ReasonDuplicate, ReasonTooOld, ReasonConflict, ReasonFailed, ReasonUnavailable
	for _, c := range []struct {
		name              string
		replicationFactor int
		answers           []Reason
		want              Reason
		decided           bool
	}{
		{"one receiver of three is away", 3, []Reason{away, stored, stored}, stored, true},
		{"two are enough, nobody waits for the third", 3, []Reason{stored, stored}, stored, true},
		{"a repeated write", 3, []Reason{duplicate, duplicate}, duplicate, true},
		{"a repeated write that one had missed", 3, []Reason{duplicate, stored}, stored, true},
		{"two refuse for good while one is away", 3, []Reason{old, away, old}, old, true},
		{"two refuse for good, nobody waits for the third", 3, []Reason{old, old}, old, true},
		{"one refuses, one is away: the third could tip it either way", 3, []Reason{old, away}, 0, false},
		{"one of each", 3, []Reason{old, away, stored}, away, true},
		{"two are away", 3, []Reason{away, failed}, away, true},
		{"two are away, in the other order", 3, []Reason{failed, away}, away, true},
		{"two refuse for different reasons", 3, []Reason{conflict, old}, conflict, true},
		{"two refuse for different reasons, in the other order", 3, []Reason{old, conflict}, conflict, true},
		{"of two receivers one is enough", 2, []Reason{away, stored}, stored, true},
		{"of two receivers one refuses", 2, []Reason{old}, 0, false},
		{"of two receivers one refuses and one is away", 2, []Reason{old, away}, away, true},
		{"of four receivers two refuse, which leaves too few", 4, []Reason{old, old}, old, true},
		{"replicated already", 1, []Reason{old}, old, true},
		{"nobody answered yet", 3, nil, 0, false},
	} {
		q := WriteQuorum(c.replicationFactor)
		var v Votes
		for _, a := range c.answers {
			q.Add(&v, a)
		}
		if got, decided := q.Verdict(v); got != c.want || decided != c.decided {
			t.Errorf("%s: %v, decided: %v; want %v, decided: %v", c.name, got, decided, c.want, c.decided)
		}
	}
}

// With any reasons and any number of replicas: the class is that of the model,
// and the reason is one that was given, or 0 while nothing is decided.
func TestQuorumReasons(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := WriteQuorum(rapid.IntRange(1, 9).Draw(t, "replication factor"))
		answers := rapid.SliceOfN(rapid.Uint8Range(0, uint8(numReasons)-1), q.Replicas, q.Replicas).Draw(t, "answers")
		var v Votes
		var classes []Class
		for _, a := range answers {
			q.Add(&v, Reason(a))
			classes = append(classes, Reason(a).Class())
		}
		verdict, decided := q.Verdict(v)
		if want := modelClass(q, classes); !decided || verdict.Class() != want {
			t.Fatalf("%v, decided: %v, want %v", verdict, decided, want)
		}
		if !slices.Contains(answers, uint8(verdict)) {
			t.Fatalf("no replica gave the reason %v", verdict)
		}
		again := verdict.Status() >= 500 || verdict.Status() == http.StatusTooManyRequests
		if status := verdict.Status(); verdict.Class() == Retryable && !again || verdict.Class() == Final && again {
			t.Fatalf("%v is %v but answered %d", verdict, verdict.Class(), status)
		}
	})
}
