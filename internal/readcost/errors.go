package readcost

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// errClosed is what a read gets that goes on after its query has ended.
var errClosed = errors.New("the query has ended")

// IsRefusal tells whether err is the answer of a Cost rather than a failure of
// what was read.
func IsRefusal(err error) bool {
	return errors.As(err, new(*LimitError)) || errors.Is(err, errClosed)
}

// LimitError says that a read asked for more than a limit of a Budget allows.
// What it was refused was not read or not kept.
type LimitError struct {
	// Limit is the field of BudgetOptions, and Value what it is set to.
	Limit string
	Value int64
	// Asked is what the read would have come to: bytes, series, samples or
	// blocks, as Unit says.
	Asked int64
	Unit  string
	// AtLeast says that Asked is what was known when it was refused: the read as
	// a whole may have asked for more.
	AtLeast bool
	// Of says for what the memory was asked, by Use; zero if that is not known.
	Of [uses]int64
	// RetryAfter is not zero if it is not the read that is too big but the
	// process that is too busy: the same read may pass after about this time.
	RetryAfter time.Duration
}

// Error names the limit, its value, what was asked, and what to do.
func (e *LimitError) Error() string {
	var b strings.Builder
	least := ""
	if e.AtLeast {
		least = "at least "
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, "too busy: the query asks for %s%s of memory, and all queries together may have no more than %s (%s): try again in %s; if this comes often raise %s or lower QueryBytes",
			least, e.show(e.Asked), e.show(e.Value), e.Limit, e.RetryAfter, e.Limit)
		return b.String()
	}
	switch e.Limit {
	case "QueryBytes":
		fmt.Fprintf(&b, "the query takes %s%s of memory", least, e.show(e.Asked))
		b.WriteString(e.of())
	case "QueryFetch":
		fmt.Fprintf(&b, "the query reads %s%s of the bucket", least, e.show(e.Asked))
	default:
		fmt.Fprintf(&b, "the query reads %s%s", least, e.show(e.Asked))
	}
	fmt.Fprintf(&b, ", more than the limit of %s (%s): select fewer series or less time, or raise %s", e.show(e.Value), e.Limit, e.Limit)
	return b.String()
}

func (e *LimitError) of() string {
	var parts []string
	for u, n := range e.Of {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", Use(u), e.show(n)))
		}
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func (e *LimitError) show(n int64) string {
	if e.Unit != "bytes" {
		return fmt.Sprintf("%d %s", n, e.Unit)
	}
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// LimitExceeded reports that the read is too big, whenever it comes.
func (e *LimitError) LimitExceeded() bool { return e.RetryAfter == 0 }

// Overloaded reports that the same read may pass later, and after what time it
// is worth a try.
func (e *LimitError) Overloaded() (retryAfter time.Duration, yes bool) {
	return e.RetryAfter, e.RetryAfter > 0
}
