package receive

import "errors"

// ErrUnavailable is for a storage that cannot take writes just now: it is
// starting, closing, or out of disk. An Appendable wraps it to have the sender
// told 503 and to come again; any error with a method Retryable() bool that
// returns true does the same.
var ErrUnavailable = errors.New("storage is not available")

// retryabler is how an error says by itself whether trying again can help.
type retryabler interface{ Retryable() bool }
