package oci

import (
	"github.com/thanos-io/objstore/providers/oci"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/provider"
)

// Provider opens buckets of type OCI.
func Provider() objstore.Provider {
	return objstore.Provider{Type: "OCI", New: open}
}

func open(config []byte, opts objstore.ProviderOptions) (objstore.Bucket, error) {
	// The client reads the configuration once more, but lets unknown keys pass.
	if err := provider.Decode(config, new(oci.Config)); err != nil {
		return nil, err
	}
	b, err := oci.NewBucket(provider.Logger(opts.Logger), config, opts.WrapTransport)
	if err != nil {
		return nil, err
	}
	return provider.Wrap(b), nil
}
