package dedup

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// TestMain draws the same cases on each run unless told otherwise, so that a
// failure is the change's. For others, or more, pass -rapid.seed and
// -rapid.checks.
func TestMain(m *testing.M) {
	flag.Parse()
	defaults := map[string]string{"rapid.seed": "1", "rapid.checks": "300"}
	flag.Visit(func(f *flag.Flag) { delete(defaults, f.Name) })
	for name, value := range defaults {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}
