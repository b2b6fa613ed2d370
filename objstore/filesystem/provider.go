package filesystem

import (
	"errors"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/provider"
)

// config is the YAML of this provider.
type config struct {
	Directory string `yaml:"directory"`
}

// Provider opens buckets of type FILESYSTEM, whose config has the one key
// directory.
func Provider() objstore.Provider {
	return objstore.Provider{Type: "FILESYSTEM", New: func(cfg []byte, _ objstore.ProviderOptions) (objstore.Bucket, error) {
		var c config
		if err := provider.Decode(cfg, &c); err != nil {
			return nil, err
		}
		if c.Directory == "" {
			return nil, errors.New("no directory is given")
		}
		b, err := NewBucket(c.Directory)
		if err != nil {
			return nil, err
		}
		return b, nil
	}}
}
