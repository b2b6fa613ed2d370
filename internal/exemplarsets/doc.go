// Package exemplarsets merges the exemplars that several sources, or replicas, have
// of a series.
package exemplarsets
