package e2e

import (
	"testing"
	"time"
)

// blockDuration is short, so that blocks are cut and shipped while the test
// watches.
const blockDuration = 20 * time.Second

// varve is a running allinone.
type varve struct {
	address string
	grpc    string // address of the StoreAPI
	*process
}

// startVarve starts allinone with its bucket in the object store and its
// local data in dataDir. An address given before is taken again.
func startVarve(t *testing.T, binary, address, dataDir string, store *objectStore) *varve {
	t.Helper()
	v := &varve{address: address, grpc: freeAddress(t)}
	v.process = start(t, "allinone", binary,
		"--http-address="+v.address, "--grpc-address="+v.grpc, "--data-dir="+dataDir,
		"--objstore.config-file="+writeFile(t, "bucket.yaml", store.config()),
		"--label=varve_replica=\"e2e\"", "--tsdb.min-block-duration="+blockDuration.String(), "--log.level=debug")
	v.ready(t, "http://"+v.address+"/-/ready")
	return v
}

func (v *varve) writeURL() string { return "http://" + v.address + "/api/v1/write" }
