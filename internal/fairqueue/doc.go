// Package fairqueue lets a number of jobs run at a time and has the others wait, so
// that many jobs of one tenant do not hold up the few of another.
package fairqueue
