package objstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxConfigNodes bounds what aliases in a configuration may expand to.
const maxConfigNodes = 10_000

// FromYAML opens the bucket that a configuration names, with one of providers:
//
//	type: S3
//	config:
//	  bucket: metrics
//	  endpoint: s3.eu-central-1.amazonaws.com
//	prefix: team-a
//
// type is matched without regard to case. config is the provider's. prefix, if
// it holds more than slashes, goes before all object names; none of its elements
// may be empty, "." or "..", which buckets do not agree about. A key that is not
// known, at any level, and a type without a provider are errors that name them.
// The format is the one of Thanos; cfg may be a Thanos configuration as it is.
//
// Opening may reach out to the network: see the providers.
func FromYAML(cfg []byte, providers ...Provider) (Bucket, error) {
	top, err := parseConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("objstore: bucket configuration: %w", err)
	}
	p, err := findProvider(top.typ, providers)
	if err != nil {
		return nil, err
	}
	b, err := p.open(top.config)
	if err != nil {
		return nil, err
	}
	return WithPrefix(b, top.prefix), nil
}

// bucketConfig is the top level of a configuration. The part for the provider
// stays text, so that a secret like 0123 is not read as a number on the way.
type bucketConfig struct {
	typ, prefix string
	config      []byte
}

func parseConfig(cfg []byte) (bucketConfig, error) {
	top, err := parseDocument(cfg)
	if err != nil {
		return bucketConfig{}, err
	}
	var out bucketConfig
	var errs []error
	seen := map[string]bool{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if seen[key.Value] {
			errs = append(errs, fmt.Errorf("line %d: key %q is there twice", key.Line, key.Value))
		}
		seen[key.Value] = true
		switch key.Value {
		case "type":
			err = scalar(key, value, &out.typ)
		case "prefix":
			if err = scalar(key, value, &out.prefix); err == nil {
				err = checkPrefix(key.Line, out.prefix)
			}
		case "config":
			out.config, err = marshalConfig(value)
		default:
			err = fmt.Errorf("line %d: unknown key %q; the keys here are type, config and prefix", key.Line, key.Value)
		}
		errs = append(errs, err)
	}
	if !seen["type"] {
		errs = append(errs, errors.New("no type is given"))
	} else if out.typ == "" {
		errs = append(errs, errors.New("type is empty"))
	}
	return out, errors.Join(errs...)
}

// checkPrefix refuses what would leave the bucket, or name no place in it.
func checkPrefix(line int, prefix string) error {
	inner := strings.Trim(prefix, DirDelim)
	if inner == "" {
		return nil
	}
	for element := range strings.SplitSeq(inner, DirDelim) {
		switch element {
		case "":
			return fmt.Errorf("line %d: prefix %q has an empty element: write one slash where there are two", line, prefix)
		case ".", "..":
			return fmt.Errorf("line %d: prefix %q has the element %q: write out the path from the root of the bucket", line, prefix, element)
		}
	}
	return nil
}

// parseDocument returns the one mapping that cfg is.
func parseDocument(cfg []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(cfg))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty; give at least a type and its config")
	} else if err != nil {
		return nil, err
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one YAML document")
	}
	top := &doc
	for top.Kind == yaml.DocumentNode && len(top.Content) > 0 {
		top = top.Content[0]
	}
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		return nil, errors.New("it is empty; give at least a type and its config")
	}
	if top.Kind != yaml.MappingNode {
		return nil, errors.New("it is not a mapping with the keys type, config and prefix")
	}
	return top, nil
}

func scalar(key, value *yaml.Node, to *string) error {
	for value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if value.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: %s must be text", key.Line, key.Value)
	}
	if value.Tag != "!!null" {
		*to = value.Value
	}
	return nil
}

// marshalConfig turns the part of a provider into a document of its own.
func marshalConfig(value *yaml.Node) ([]byte, error) {
	left := maxConfigNodes
	whole, err := expand(value, &left)
	if err != nil {
		return nil, err
	}
	if whole.Kind == yaml.ScalarNode && whole.Tag == "!!null" {
		return nil, nil
	}
	if whole.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: config must be a mapping", value.Line)
	}
	return yaml.Marshal(whole)
}

// expand copies a node with aliases replaced by what they stand for, because
// their anchors may be outside the part that is copied. left counts down.
func expand(n *yaml.Node, left *int) (*yaml.Node, error) {
	if *left--; *left < 0 {
		return nil, fmt.Errorf("line %d: aliases expand to more than %d values", n.Line, maxConfigNodes)
	}
	if n.Kind == yaml.AliasNode {
		return expand(n.Alias, left)
	}
	whole := *n
	whole.Anchor = ""
	whole.Content = make([]*yaml.Node, len(n.Content))
	for i, c := range n.Content {
		var err error
		if whole.Content[i], err = expand(c, left); err != nil {
			return nil, err
		}
	}
	return &whole, nil
}
