package receive

import (
	"strings"
	"testing"
)

// The advice speaks of other samples only if there are some.
func TestTallyAdvice(t *testing.T) {
	var whole tally
	whole.add(ReasonStored, floatSample)
	whole.refuse(ReasonBadExemplar, tallyCounts{})
	if text := whole.text("a"); !strings.Contains(text, "1 of 1 samples are stored") || strings.Contains(text, "the others") {
		t.Errorf("nothing but what is no sample was refused: %s", text)
	}
	var partly tally
	partly.add(ReasonStored, floatSample)
	partly.refuse(ReasonConflict, tallyCounts{floatSample: 1})
	if text := partly.text("a"); !strings.Contains(text, "1 of 2 samples are stored; sending the others again will not help") {
		t.Errorf("a sample was refused: %s", text)
	}
}
