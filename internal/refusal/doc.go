// Package refusal tells from an error of a read what whoever asked may do about it.
// Errors say so by methods, as package query documents them, so that neither a host's
// sources nor the packages of this module have to know each other's types:
//
//	LimitExceeded() bool                            ask for less: Final
//	Overloaded() (retryAfter time.Duration, yes bool)  ask again then: Busy
//	Unavailable() bool                              ask again some time: Away
package refusal
