package upto

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func TestReadsSoMuchOrWhatThereIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := bytes.Repeat([]byte{1, 2, 3}, rapid.IntRange(0, 3*firstGuess/2).Draw(t, "thirds"))
		n := rapid.Int64Range(0, 6*firstGuess).Draw(t, "n")
		r := iotest.HalfReader(bytes.NewReader(content))
		got, err := Read(r, n)
		if want := content[:min(n, int64(len(content)))]; err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, %v, want %d", len(got), err, len(want))
		}
	})
}

// A claim of a petabyte takes no more memory than what comes of it.
func TestClaimsAllocateNothing(t *testing.T) {
	got, err := Read(strings.NewReader("short"), 1<<50)
	if err != nil || string(got) != "short" || cap(got) > firstGuess {
		t.Errorf("got %q in %d bytes, %v", got, cap(got), err)
	}
}

func TestFailureSaysHowFarItCame(t *testing.T) {
	broken := errors.New("broken")
	_, err := Read(iotest.DataErrReader(&failing{3, broken}), 10)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "3 of 10") {
		t.Errorf("got %v", err)
	}
}

// failing has so many bytes before it fails.
type failing struct {
	left int
	err  error
}

func (f *failing) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, f.err
	}
	n := min(f.left, len(p))
	f.left -= n
	return n, nil
}
