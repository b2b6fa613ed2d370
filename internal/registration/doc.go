// Package registration puts the metrics of one instance on a registry, all of
// them or none, and takes them off again, so that the next instance finds the
// place free.
package registration
