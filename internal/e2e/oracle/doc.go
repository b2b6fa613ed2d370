// Package oracle holds Varve's HTTP API against Prometheus' own: both handlers
// stand over one storage, get the same requests, and have to answer with the
// same bytes. It is a module of its own because Prometheus' handler pulls in
// all of Prometheus, service discovery of the clouds included.
//
//	cd internal/e2e/oracle && go test ./...
package oracle
