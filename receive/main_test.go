package receive

import (
	"testing"

	"go.uber.org/goleak"
)

// A TSDB that fails to open, or panics while closing, leaves the goroutine of
// its write-ahead log running; tests of that cannot help it. All others check
// for that goroutine, too: see leakCheck.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/prometheus/prometheus/tsdb/wlog.(*WL).run"))
}
