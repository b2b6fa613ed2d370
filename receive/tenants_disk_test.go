package receive

import (
	"math"
	"strings"
	"testing"
)

// Who has no room is told what to do about it.
func TestFullDiskSaysWhatToDo(t *testing.T) {
	f := &freeSpace{dir: t.TempDir(), min: math.MaxInt64}
	for _, more := range []int64{0, 1} {
		if err := f.verdict(10, more); err == nil || !strings.Contains(err.Error(), f.dir) || !strings.Contains(err.Error(), "make room") {
			t.Errorf("with need of %d bytes: %v", more, err)
		}
	}
}
