package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a flag of bytes, such as 1000, 64KiB, 512MiB or 2GiB.
type Size int64

var sizeUnits = [...]struct {
	suffix string
	shift  int
}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"TB", 40}, {"GB", 30}, {"MB", 20}, {"KB", 10}, {"B", 0}, {"", 0}}

// String is the size in the largest unit that holds it evenly.
func (s *Size) String() string {
	for _, unit := range sizeUnits {
		if *s != 0 && int64(*s)%(1<<unit.shift) == 0 {
			return strconv.FormatInt(int64(*s)>>unit.shift, 10) + unit.suffix
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Set parses a size. As in Thanos, KB is another name for KiB.
func (s *Size) Set(text string) error {
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		switch {
		case err != nil:
			return fmt.Errorf("%q is not a size such as 1000, 64KiB, 512MiB or 2GiB", text)
		case n < 0:
			return errors.New("it is negative")
		case n > math.MaxInt64>>unit.shift:
			return errors.New("it is too large")
		}
		*s = Size(n << unit.shift)
		return nil
	}
	return nil
}
