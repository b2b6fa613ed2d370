package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a flag with a size such as 512MiB or 10GB. As in Thanos the units are
// powers of 1024 whichever way they are written.
type Bytes int64

// byteUnits from the largest on, by their first letter.
const byteUnits = "EPTGMK"

// String is the size in the largest unit that holds it evenly.
func (b *Bytes) String() string {
	for i, unit := range byteUnits {
		if size := int64(1) << (10 * (len(byteUnits) - i)); *b != 0 && int64(*b)%size == 0 {
			return strconv.FormatInt(int64(*b)/size, 10) + string(unit) + "iB"
		}
	}
	return strconv.FormatInt(int64(*b), 10) + "B"
}

// Set takes a number of 0 or more with a unit, or 0.
func (b *Bytes) Set(text string) error {
	digits := strings.TrimRight(text, "EPTGMKkiB")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || n < 0 || math.IsInf(n, 0) || math.IsNaN(n) {
		return fmt.Errorf("%q is not a size: want one such as 512MiB or 10GB", text)
	}
	unit := strings.ToUpper(text[len(digits):])
	if unit == "" && n != 0 {
		return fmt.Errorf("%q has no unit: want a size such as 512MiB or 10GB", text)
	}
	size := 1.0
	if unit != "" && unit != "B" {
		i := strings.IndexByte(byteUnits, unit[0])
		if rest := unit[1:]; i < 0 || rest != "" && rest != "B" && rest != "IB" {
			return fmt.Errorf("%q has an unknown unit: want a size such as 512MiB or 10GB", text)
		}
		size = float64(int64(1) << (10 * (len(byteUnits) - i)))
	}
	if n*size >= math.MaxInt64 {
		return fmt.Errorf("%q is too large", text)
	}
	*b = Bytes(n * size)
	return nil
}
