package dedup

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

// How many cases are drawn unless -rapid.checks says: of the conformance suites,
// and of the properties of this package.
const (
	conformanceCases = "300"
	propertyCases    = "1000"
)

// TestMain draws the same cases on each run unless told otherwise, so that a
// failure is the change's. For others, or more, pass -rapid.seed and
// -rapid.checks; the package documentation has the nightly command.
func TestMain(m *testing.M) {
	flag.Parse()
	defaults := map[string]string{"rapid.seed": "1", "rapid.checks": conformanceCases}
	flag.Visit(func(f *flag.Flag) { delete(defaults, f.Name) })
	for name, value := range defaults {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// property checks that it holds for cases drawn at random.
func property(t *testing.T, holds func(*rapid.T)) {
	t.Helper()
	if checks := flag.Lookup("rapid.checks").Value; checks.String() == conformanceCases {
		if err := checks.Set(propertyCases); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = checks.Set(conformanceCases) })
	}
	rapid.Check(t, holds)
}
