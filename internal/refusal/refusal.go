package refusal

import "time"

// Kind is what an error says of itself.
type Kind uint8

// The kinds, the gravest last: where errors are joined that count is the last, since
// a read that one source refuses for good does not pass however ready others are.
const (
	// None is an error that says nothing.
	None Kind = iota
	// Away is a storage that cannot answer now but will later, as while it starts.
	Away
	// Busy is a read for which there is no room now.
	Busy
	// Final is a read that asked for more than a limit allows.
	Final
)

type (
	unavailable interface{ Unavailable() bool }
	limited     interface{ LimitExceeded() bool }
	overloaded  interface {
		Overloaded() (retryAfter time.Duration, yes bool)
	}
)

// Of returns what err or an error that it wraps says of itself, and of one that is
// Busy when it is worth a try; of several the latest time.
func Of(err error) (kind Kind, retryAfter time.Duration) {
	for err != nil {
		own, after := saysItself(err)
		if own > kind {
			kind = own
		}
		retryAfter = max(retryAfter, after)
		switch wrapper := err.(type) {
		case interface{ Unwrap() error }:
			err = wrapper.Unwrap()
		case interface{ Unwrap() []error }:
			for _, one := range wrapper.Unwrap() {
				one, after := Of(one)
				kind, retryAfter = max(kind, one), max(retryAfter, after)
			}
			err = nil
		default:
			err = nil
		}
	}
	if kind != Busy {
		return kind, 0
	}
	return kind, retryAfter
}

func saysItself(err error) (kind Kind, retryAfter time.Duration) {
	if e, ok := err.(unavailable); ok && e.Unavailable() {
		kind = Away
	}
	if e, ok := err.(overloaded); ok {
		if after, yes := e.Overloaded(); yes {
			kind, retryAfter = Busy, after
		}
	}
	if e, ok := err.(limited); ok && e.LimitExceeded() {
		kind = Final
	}
	return kind, retryAfter
}
