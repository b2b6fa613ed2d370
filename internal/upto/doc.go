// Package upto reads a range of an object into memory: up to so many bytes, of
// which there may be fewer.
package upto
