// Package grpctest is what the tests of the adapters of Thanos' gRPC services have in
// common: a server in memory, and a process that has changed what gRPC and protobuf
// know, as one does that has Thanos in it.
package grpctest
