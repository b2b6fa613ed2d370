package cos_test

import (
	"fmt"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cos"
)

func Example() {
	bkt, err := objstore.FromYAML([]byte(`
type: COS
config:
  bucket: metrics
  app_id: "1250000000"
  region: ap-shanghai
  secret_id: id
  secret_key: secret
`), cos.Provider())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bkt.Close()
	fmt.Println(bkt.Provider(), bkt.Name())
	// Output: COS metrics
}
