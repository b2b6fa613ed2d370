package oss

import (
	"github.com/thanos-io/objstore/providers/oss"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/provider"
)

// Provider opens buckets of type ALIYUNOSS.
func Provider() objstore.Provider {
	return objstore.Provider{Type: "ALIYUNOSS", New: open}
}

func open(config []byte, opts objstore.ProviderOptions) (objstore.Bucket, error) {
	// The client reads the configuration once more, but lets unknown keys pass.
	if err := provider.Decode(config, new(oss.Config)); err != nil {
		return nil, err
	}
	b, err := oss.NewBucket(provider.Logger(opts.Logger), config, provider.Component(opts), opts.WrapTransport)
	if err != nil {
		return nil, err
	}
	return provider.Wrap(b), nil
}
