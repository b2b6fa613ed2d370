package around

// Any says whether is holds for err or for any error that err wraps, joins or
// names as its cause. Providers classify errors with errors.Cause of
// pkg/errors, which does not see through %w; asking about each error in turn
// makes up for that.
func Any(err error, is func(error) bool) bool {
	if err == nil {
		return false
	}
	if is(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return Any(e.Unwrap(), is)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if Any(err, is) {
				return true
			}
		}
	case interface{ Cause() error }:
		if cause := e.Cause(); cause != err {
			return Any(cause, is)
		}
	}
	return false
}
