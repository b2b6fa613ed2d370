package azure

import (
	"github.com/thanos-io/objstore/providers/azure"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/provider"
)

// Provider opens buckets of type AZURE.
func Provider() objstore.Provider {
	return objstore.Provider{Type: "AZURE", New: open}
}

func open(config []byte, opts objstore.ProviderOptions) (objstore.Bucket, error) {
	// The client reads the configuration once more, with its defaults.
	if err := provider.Decode(config, new(azure.Config)); err != nil {
		return nil, err
	}
	b, err := azure.NewBucket(provider.Logger(opts.Logger), config, provider.Component(opts), opts.WrapTransport)
	if err != nil {
		return nil, err
	}
	return provider.Wrap(b), nil
}
