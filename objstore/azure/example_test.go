package azure_test

import (
	"fmt"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/azure"
)

func Example() {
	bkt, err := objstore.FromYAML([]byte(`
type: AZURE
config:
  storage_account: metrics
  storage_account_key: c2VjcmV0
  container: blocks
`), azure.Provider())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bkt.Close()
	fmt.Println(bkt.Provider(), bkt.Name())
	// This creates the container, if it is missing.
}
