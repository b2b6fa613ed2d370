// Package lint holds the rules of the house as tests, so that one command
// checks them with everything else: which package may import which, how many
// packages and modules each pulls in, what an embedding program must never
// find in a library (init functions, exits, default registries, variables that
// change), and how long a file may get.
//
// The package has no code. The dependency budgets are in testdata/budget.txt;
// raising one is a decision to be made in a commit of its own.
package lint
