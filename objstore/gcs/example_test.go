package gcs_test

import (
	"fmt"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/gcs"
)

func Example() {
	bkt, err := objstore.FromYAML([]byte(`
type: GCS
config:
  bucket: metrics
`), gcs.Provider())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bkt.Close()
	fmt.Println(bkt.Provider(), bkt.Name())
	// Without credentials on the machine this fails.
}
