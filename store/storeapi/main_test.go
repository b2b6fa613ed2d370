package storeapi

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/varve-tsdb/varve/internal/grpcwire/grpctest"
)

// All tests run in a process that has changed what gRPC and protobuf know, as one
// does that has Thanos in it.
func TestMain(m *testing.M) {
	if err := grpctest.Occupy(thanosFile); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
