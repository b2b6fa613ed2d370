// Package e2e runs Varve against the programs it is made for: real Prometheus
// servers and agents and a vmagent that send to it, a real object store that
// keeps its blocks, a Thanos Receive beside it in a hashring, and Thanos' queriers,
// stores and sidecars that it asks and that ask it. It is a module of
// its own, so that none of what it needs reaches a host's go.mod, and it knows
// Varve only by the example programs, their HTTP interface and their data; the
// one exception is OTLP, where Prometheus' handler and ours get the same
// requests within one process.
//
// The peers are built by the Go tool from the module files in peers, each with
// versions of its own, into a cache folder outside the tree
// (VARVE_E2E_CACHE, or varve-e2e in the user's cache folder). Debian's
// Prometheus comes as a package and is unpacked there; it is the old sender.
//
//	cd internal/e2e && go test -v ./...
package e2e
