// Package exprsize refuses PromQL expressions that would end the process, or keep
// it busy for hours, by being parsed. It is for all who parse what others send.
package exprsize
