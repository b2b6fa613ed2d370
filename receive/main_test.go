package receive

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// A TSDB that fails to open, or panics while closing, leaves the goroutine of
// its write-ahead log running; tests of that cannot help it. All others check
// for that goroutine, too: see leakCheck.
func TestMain(m *testing.M) {
	if mode := os.Getenv(writeChildMode); mode != "" {
		if err := runWriteChild(mode, os.Getenv(writeChildDir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/prometheus/prometheus/tsdb/wlog.(*WL).run"))
}
