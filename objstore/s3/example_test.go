package s3_test

import (
	"fmt"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/s3"
)

func Example() {
	bkt, err := objstore.FromYAML([]byte(`
type: S3
config:
  bucket: metrics
  endpoint: s3.eu-central-1.amazonaws.com
  access_key: key
  secret_key: secret
`), s3.Provider())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bkt.Close()
	fmt.Println(bkt.Provider(), bkt.Name())
	// Output: S3 metrics
}
