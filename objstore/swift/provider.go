package swift

import (
	"github.com/thanos-io/objstore/providers/swift"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/provider"
)

// Provider opens buckets of type SWIFT.
func Provider() objstore.Provider {
	return objstore.Provider{Type: "SWIFT", New: open}
}

func open(config []byte, opts objstore.ProviderOptions) (objstore.Bucket, error) {
	// The client reads the configuration once more, with its defaults.
	if err := provider.Decode(config, new(swift.Config)); err != nil {
		return nil, err
	}
	b, err := swift.NewContainer(provider.Logger(opts.Logger), config, opts.WrapTransport)
	if err != nil {
		return nil, err
	}
	return provider.Wrap(b), nil
}
