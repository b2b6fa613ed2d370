package objstore

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
)

// Provider opens buckets of one kind. Each package below this one that stands
// for a kind of storage has a function Provider that returns its own; a host
// may make one for a kind of its own.
type Provider struct {
	// Type is the type that a configuration chooses this provider by, whatever
	// its case.
	Type string
	// New opens the bucket that config describes. config is the YAML below the
	// key config, empty if there is none; it may hold secrets. New reports an
	// unknown key as an error that names it.
	New func(config []byte, opts ProviderOptions) (Bucket, error)
	// Options are passed to New.
	Options ProviderOptions
}

// ProviderOptions are what a host may give a provider besides the
// configuration.
type ProviderOptions struct {
	// Logger gets what the provider's client has to say. Nil is silent.
	Logger *slog.Logger
	// Component appears in the user agent of requests. The default is varve.
	Component string
	// WrapTransport, unless nil, is put around the HTTP transport of providers
	// that support it: all but FILESYSTEM, BOS and OBS, and GCS over gRPC.
	WrapTransport func(http.RoundTripper) http.RoundTripper
}

// With returns the provider with other options.
func (p Provider) With(opts ProviderOptions) Provider {
	p.Options = opts
	return p
}

// packages are the providers that this module knows of, and where they are.
var packages = []struct{ typ, path string }{
	{"ALIYUNOSS", "oss"},
	{"AZURE", "azure"},
	{"BOS", "bos"},
	{"COS", "cos"},
	{"FILESYSTEM", "filesystem"},
	{"GCS", "gcs"},
	{"OBS", "obs"},
	{"OCI", "oci"},
	{"S3", "s3"},
	{"SWIFT", "swift"},
}

// findProvider returns the provider for a type, or an error that says what to
// do about its absence.
func findProvider(typ string, providers []Provider) (Provider, error) {
	var given []string
	var found []Provider
	for _, p := range providers {
		given = append(given, strings.ToUpper(p.Type))
		if strings.EqualFold(p.Type, typ) && p.New != nil {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Provider{}, missingProvider(typ, given)
	default:
		return Provider{}, fmt.Errorf("objstore: %d providers for type %q were passed to FromYAML", len(found), typ)
	}
}

func missingProvider(typ string, given []string) error {
	have := "no provider was passed to FromYAML"
	if len(given) > 0 {
		slices.Sort(given)
		have = "the types passed to FromYAML are " + strings.Join(given, ", ")
	}
	var known []string
	for _, p := range packages {
		if strings.EqualFold(p.typ, typ) {
			return fmt.Errorf("objstore: type %q has no provider: %s; import github.com/varve-tsdb/varve/objstore/%s and pass %s.Provider()",
				typ, have, p.path, p.path)
		}
		known = append(known, p.typ)
	}
	return fmt.Errorf("objstore: unknown type %q: %s; this module knows %s, each in a package of its own below github.com/varve-tsdb/varve/objstore",
		typ, have, strings.Join(known, ", "))
}

// open opens the bucket and says whose error it is.
func (p Provider) open(config []byte) (Bucket, error) {
	b, err := p.New(config, p.Options)
	if err != nil {
		return nil, fmt.Errorf("objstore: open %s bucket: %w", strings.ToUpper(p.Type), err)
	}
	if b == nil {
		return nil, errors.New("objstore: the provider of " + strings.ToUpper(p.Type) + " opened nothing")
	}
	return b, nil
}
