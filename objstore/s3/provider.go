package s3

import (
	"errors"
	"fmt"
	"maps"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/s3utils"
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
	if err := s3utils.CheckValidBucketName(c.Bucket); err != nil {
		return nil, fmt.Errorf("bucket %q: %w", c.Bucket, err)
	}
	c.PutUserMetadata = maps.Clone(c.PutUserMetadata) // the client takes the storage class out of it
	b, err := s3.NewBucketWithConfig(provider.Logger(opts.Logger), c, provider.Component(opts), opts.WrapTransport)
	if err != nil {
		return nil, err
	}
	return provider.WrapClient(b, isInvalid), nil
}

// isInvalid tells that the request itself is wrong, whether the client has found
// that or the server. Other answers of status 400 are about what became of the
// request on its way.
func isInvalid(err error) bool {
	response, ok := err.(minio.ErrorResponse)
	return ok && (response.Code == minio.InvalidArgument || response.Code == minio.InvalidBucketName ||
		response.Code == minio.XMinioInvalidObjectName)
}
