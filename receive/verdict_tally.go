package receive

import (
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/timestamp"
)

// How much of the refusals an answer tells: Prometheus logs no more than 1,024
// bytes of it.
const (
	tallyExamples    = 3
	tallySeriesBytes = 200
	tallyErrorBytes  = 120
)

// sampleKind tells floats and histograms apart, which the answer to a 2.0
// request counts separately.
type sampleKind uint8

const (
	floatSample sampleKind = iota
	histogramSample
	numSampleKinds
)

// tallyCounts counts samples by kind.
type tallyCounts [numSampleKinds]int

func (c tallyCounts) total() int { return c[floatSample] + c[histogramSample] }

// tallyExample is a refusal that the answer tells in full.
type tallyExample struct {
	reason Reason
	series string
	t      int64
	hasT   bool
	err    error
}

// tally gathers the verdicts of one request.
type tally struct {
	samples   [numReasons]tallyCounts
	others    [numReasons]int // refused things that are no samples
	exemplars [numExemplarOutcomes]int
	examples  []tallyExample
	// failure is the error with which the storage as a whole turned away, nil
	// if it did not.
	failure error
}

func (t *tally) add(r Reason, kind sampleKind) { t.samples[r][kind]++ }

// refuse counts n refused samples. If they are to be told as an example, which
// the first ones of a reason are, it returns the place for the caller to
// describe them in, and otherwise nil: a description takes longer than all else.
func (t *tally) refuse(r Reason, n tallyCounts) *tallyExample {
	for kind, count := range n {
		t.samples[r][kind] += count
	}
	if n.total() == 0 {
		t.others[r]++
	}
	for _, e := range t.examples {
		if e.reason == r {
			return nil
		}
	}
	if len(t.examples) >= tallyExamples {
		return nil
	}
	t.examples = append(t.examples, tallyExample{reason: r})
	return &t.examples[len(t.examples)-1]
}

// merge adds the verdicts of o, which come after those of t.
func (t *tally) merge(o *tally) {
	for r := range numReasons {
		for kind, n := range o.samples[r] {
			t.samples[r][kind] += n
		}
		t.others[r] += o.others[r]
	}
	for outcome, n := range o.exemplars {
		t.exemplars[outcome] += n
	}
	t.examples = append(t.examples, o.examples...)
	t.examples = t.examples[:min(len(t.examples), tallyExamples)]
	if t.failure == nil {
		t.failure = o.failure
	}
}

// status is the answer that the verdicts add up to.
func (t *tally) status() int {
	status := http.StatusNoContent
	for r := range numReasons {
		if t.samples[r].total()+t.others[r] > 0 {
			status = max(status, r.Status())
		}
	}
	return status
}

// retryable reports whether some of the request may come through if it is sent
// again.
func (t *tally) retryable() bool {
	for r := range numReasons {
		if r.Class() == Retryable && t.samples[r].total()+t.others[r] > 0 {
			return true
		}
	}
	return false
}

// written returns how many samples of a kind are in the storage now.
func (t *tally) written(kind sampleKind) int {
	return t.samples[ReasonStored][kind] + t.samples[ReasonDuplicate][kind]
}

// total returns how many samples there are.
func (t *tally) total() (n int) {
	for r := range numReasons {
		n += t.samples[r].total()
	}
	return n
}

// text explains a status other than success.
func (t *tally) text(tenant string) string {
	var all, accepted int
	var reasons []string
	for r := range numReasons {
		n := t.samples[r].total()
		all += n
		if r.Class() == Accepted {
			accepted += n
		} else if n+t.others[r] > 0 {
			reasons = append(reasons, fmt.Sprintf("%s: %d", r, n+t.others[r]))
		}
	}
	var b strings.Builder
	advice := "sending the others again will not help"
	switch {
	case t.retryable():
		advice = "send the request again"
	case accepted == all:
		advice = "sending the rest of the request again will not help"
	}
	fmt.Fprintf(&b, "tenant %q: %d of %d samples are stored; %s\n", tenant, accepted, all, advice)
	if t.failure != nil {
		fmt.Fprintf(&b, "%s\n", clip(t.failure.Error(), 2*tallySeriesBytes))
	}
	fmt.Fprintf(&b, "%s\n", strings.Join(reasons, ", "))
	for _, e := range t.examples {
		b.WriteString(e.String())
		b.WriteByte('\n')
	}
	return b.String()
}

func (e tallyExample) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: series %s", e.reason, clip(e.series, tallySeriesBytes))
	if e.hasT {
		fmt.Fprintf(&b, " at %s", tallyTime(e.t))
	}
	if e.err != nil {
		fmt.Fprintf(&b, ": %s", clip(e.err.Error(), tallyErrorBytes))
	}
	return b.String()
}

func tallyTime(t int64) string {
	if at := timestamp.Time(t).UTC(); at.Year() >= 0 && at.Year() < 10_000 {
		return at.Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%d ms", t)
}

// clip shortens s to about n bytes without cutting a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
