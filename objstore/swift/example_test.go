package swift_test

import (
	"fmt"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/swift"
)

func Example() {
	bkt, err := objstore.FromYAML([]byte(`
type: SWIFT
config:
  auth_url: https://identity.example.org/v3
  username: metrics
  password: secret
  container_name: blocks
`), swift.Provider())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bkt.Close()
	fmt.Println(bkt.Provider(), bkt.Name())
	// This authenticates.
}
