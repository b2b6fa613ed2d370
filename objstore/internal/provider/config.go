package provider

import (
	"bytes"
	"cmp"
	"errors"
	"io"

	"go.yaml.in/yaml/v3"

	"github.com/varve-tsdb/varve/objstore"
)

// Decode reads YAML into the struct that to points to, over what is there. An
// unknown key or one that is there twice is an error that names it. No YAML at
// all changes nothing.
func Decode(config []byte, to any) error {
	dec := yaml.NewDecoder(bytes.NewReader(config))
	dec.KnownFields(true)
	if err := dec.Decode(to); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// Component returns what the user agent of requests shall say.
func Component(opts objstore.ProviderOptions) string { return cmp.Or(opts.Component, "varve") }
