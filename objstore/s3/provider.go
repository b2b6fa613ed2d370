package s3

import (
	"errors"
	"maps"

	"github.com/thanos-io/objstore/providers/s3"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/internal/provider"
)

// Config is the configuration of an S3 client, as in YAML.
type Config = s3.Config

// The ways to address a bucket in a URL, for Config.BucketLookupType.
const (
	AutoLookup        = s3.AutoLookup
	VirtualHostLookup = s3.VirtualHostLookup
	PathLookup        = s3.PathLookup
)

// DefaultConfig returns what a configuration starts from. A Config that does
// not start from it has, among others, no timeouts and parts of no size.
func DefaultConfig() Config {
	c := s3.DefaultConfig
	// The map is shared by the whole process, and decoding YAML writes into it.
	c.PutUserMetadata = map[string]string{}
	return c
}

// Provider opens buckets of type S3.
func Provider() objstore.Provider {
	return objstore.Provider{Type: "S3", New: func(config []byte, opts objstore.ProviderOptions) (objstore.Bucket, error) {
		c := DefaultConfig()
		if err := provider.Decode(config, &c); err != nil {
			return nil, err
		}
		return NewBucket(c, opts)
	}}
}

// NewBucket returns a bucket on S3. It does not reach out to the network. c is
// not changed and not kept.
func NewBucket(c Config, opts objstore.ProviderOptions) (objstore.Bucket, error) {
	if c.Bucket == "" {
		return nil, errors.New("no bucket is given")
	}
	c.PutUserMetadata = maps.Clone(c.PutUserMetadata) // the client takes the storage class out of it
	b, err := s3.NewBucketWithConfig(provider.Logger(opts.Logger), c, provider.Component(opts), opts.WrapTransport)
	if err != nil {
		return nil, err
	}
	return provider.Wrap(b), nil
}
