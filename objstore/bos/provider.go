package bos

import (
	"github.com/thanos-io/objstore/providers/bos"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/provider"
)

// Provider opens buckets of type BOS.
func Provider() objstore.Provider {
	return objstore.Provider{Type: "BOS", New: open}
}

func open(config []byte, opts objstore.ProviderOptions) (objstore.Bucket, error) {
	// The client reads the configuration once more, but lets unknown keys pass.
	if err := provider.Decode(config, new(bos.Config)); err != nil {
		return nil, err
	}
	b, err := bos.NewBucket(provider.Logger(opts.Logger), config, provider.Component(opts))
	if err != nil {
		return nil, err
	}
	return provider.Wrap(b), nil
}
