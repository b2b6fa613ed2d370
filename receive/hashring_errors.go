package receive

import (
	"fmt"
	"strings"
)

// What can keep a tenant's series from being placed, to be tested with
// errors.Is. Both are retryable: another file puts them right.
var (
	// ErrNoHashring: none of the hashrings takes the tenant.
	ErrNoHashring error = retryableError("no hashring takes the tenant")
	// ErrHashringsNotLoaded: there are no hashrings yet, as before the first
	// good pass of HashringFile.Load.
	ErrHashringsNotLoaded error = retryableError("hashrings are not loaded")
)

// HashringError is one thing that is wrong with hashrings in JSON.
type HashringError struct {
	// Index is the position of the hashring in the array, from 0, or -1 if the
	// problem is that of the whole.
	Index int
	// Hashring is its name, if it has one.
	Hashring string
	// Field is the path to what is wrong from the hashring on, such as
	// "endpoints[2].az", empty if it is the hashring itself.
	Field string
	// Problem says what is wrong and what to do.
	Problem string
}

// Error names the hashring, the field and the problem.
func (e *HashringError) Error() string {
	var b strings.Builder
	if e.Index < 0 {
		b.WriteString("hashrings")
	} else {
		fmt.Fprintf(&b, "hashring[%d]", e.Index)
	}
	if e.Hashring != "" {
		fmt.Fprintf(&b, " %q", e.Hashring)
	}
	if e.Field != "" {
		fmt.Fprintf(&b, ": %s", e.Field)
	}
	fmt.Fprintf(&b, ": %s", e.Problem)
	return b.String()
}
