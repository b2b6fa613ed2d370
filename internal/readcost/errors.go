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

	names map[string]string // see BudgetOptions.Names
}

// Name is what the host calls the limit, such as a flag: see BudgetOptions.Names.
func (e *LimitError) Name() string { return e.nameOf(e.Limit) }

func (e *LimitError) nameOf(limit string) string {
	if name := e.names[limit]; name != "" {
		return name
	}
	return limit
}

// Error names the limit, its value, what was asked, and what to do.
func (e *LimitError) Error() string {
	least := ""
	if e.AtLeast {
		least = "at least "
	}
	asked, value, name := e.show(e.Asked), e.show(e.Value), e.Name()
	if asked == value {
		asked, value = e.exact(e.Asked), e.exact(e.Value)
	}
	const remedy = ": select fewer series or less time, or raise "
	switch {
	case e.RetryAfter > 0:
		return fmt.Sprintf("too busy: the query asks for %s%s of memory, and all queries together may have no more than %s (%s): try again in %s; if this comes often raise %s or lower %s",
			least, asked, value, name, e.RetryAfter, name, e.nameOf(queryBytes))
	case e.Limit == totalBytes:
		return fmt.Sprintf("the query takes %s%s of memory%s, more than the limit of %s for all queries together (%s)%s%s",
			least, asked, e.of(), value, name, remedy, name)
	case e.Limit == queryBytes:
		return fmt.Sprintf("the query takes %s%s of memory%s, more than the limit of %s (%s)%s%s", least, asked, e.of(), value, name, remedy, name)
	case e.Limit == queryFetch:
		asked += " of the bucket"
	}
	return fmt.Sprintf("the query reads %s%s, more than the limit of %s (%s)%s%s", least, asked, value, name, remedy, name)
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

func (e *LimitError) exact(n int64) string { return fmt.Sprintf("%d %s", n, e.Unit) }

func (e *LimitError) show(n int64) string {
	if e.Unit != "bytes" {
		return e.exact(n)
	}
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return e.exact(n)
}

// LimitExceeded reports that the read is too big, whenever it comes.
func (e *LimitError) LimitExceeded() bool { return e.RetryAfter == 0 }

// Overloaded reports that the same read may pass later, and after what time it
// is worth a try.
func (e *LimitError) Overloaded() (retryAfter time.Duration, yes bool) {
	return e.RetryAfter, e.RetryAfter > 0
}
