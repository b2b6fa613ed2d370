package writestore

import (
	"google.golang.org/grpc"

	"github.com/varve-tsdb/varve/internal/grpcwire"
)

// SnappyDialOptions have a connection compress what it sends, as receivers of
// Thanos do by default. Between machines close to each other it takes more time
// than it saves. It is for this connection only: nothing is registered for the
// process.
func SnappyDialOptions() []grpc.DialOption { return grpcwire.SnappyDialOptions(defaultMaxMessageBytes) }
