// Package every repeats a single pass at an interval. It is what each Run
// method in this module is made of.
package every
