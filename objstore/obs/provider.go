package obs

import (
	"github.com/thanos-io/objstore/providers/obs"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/provider"
)

// Provider opens buckets of type OBS.
func Provider() objstore.Provider {
	return objstore.Provider{Type: "OBS", New: open}
}

func open(config []byte, opts objstore.ProviderOptions) (objstore.Bucket, error) {
	// The client reads the configuration once more, with its defaults.
	if err := provider.Decode(config, new(obs.Config)); err != nil {
		return nil, err
	}
	b, err := obs.NewBucket(provider.Logger(opts.Logger), config)
	if err != nil {
		return nil, err
	}
	return provider.Wrap(b), nil
}
