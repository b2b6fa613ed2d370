package receive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// defaultCapnProtoPort is where Thanos Receive takes writes by Cap'n Proto.
const defaultCapnProtoPort = "19391"

// hashringReader reads the JSON of one hashring and reports all that is wrong.
// Null is as good as nothing everywhere.
type hashringReader struct {
	wrong hashringReport
	lost  []string // the fields that could not be read
}

func (r *hashringReader) unread(field, format string, args ...any) {
	r.wrong(field, format, args...)
	r.lost = append(r.lost, field)
}

// lostPart reports whether part of a field could not be read, or it belongs to
// one that could not.
func (r *hashringReader) lostPart(field string) bool {
	return slices.ContainsFunc(r.lost, func(lost string) bool { return within(field, lost) || within(lost, field) })
}

// within reports whether the path field is the path outer or goes on from it.
func within(field, outer string) bool {
	rest, ok := strings.CutPrefix(field, outer)
	return ok && (outer == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// memberPath returns the path of a member of the object at path.
func memberPath(path, key string) string {
	plain := key != "" && !strings.ContainsFunc(key, func(c rune) bool {
		return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
	switch {
	case !plain:
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// readHashrings splits the array.
func readHashrings(data []byte) ([]json.RawMessage, error) {
	problem := func(format string, args ...any) error {
		return &HashringError{Index: -1, Problem: fmt.Sprintf(format, args...)}
	}
	if !utf8.Valid(data) {
		return nil, problem("the text is not UTF-8")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, problem("the text is empty: it must be an array of hashrings")
	}
	var rings []json.RawMessage
	if err := json.Unmarshal(data, &rings); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			before := data[:min(int(syntax.Offset), len(data))]
			return nil, problem("line %d: no valid JSON: %v", 1+bytes.Count(before, []byte("\n")), err)
		}
		return nil, problem("it must be an array of hashrings")
	}
	if len(rings) == 0 {
		return nil, problem("the array is empty: at least one hashring is needed")
	}
	return rings, nil
}

func (r *hashringReader) hashring(raw json.RawMessage) *hashringConfig {
	c := &hashringConfig{shard: shardConfig{cacheSize: defaultShardCacheSize}}
	var tenants []string
	matcher := matchExact
	r.object("", raw, func(key string, value json.RawMessage) bool {
		switch key {
		case "hashring":
			readJSON(r, key, value, &c.name, "a string")
		case "tenants":
			readJSON(r, key, value, &tenants, "an array of strings")
		case "tenant_matcher_type":
			readJSON(r, key, value, &matcher, "a string")
		case "endpoints":
			c.endpoints = r.endpoints(key, value)
		case "algorithm":
			readJSON(r, key, value, &c.algorithm, "a string")
		case "external_labels":
			c.externalLabels = r.labels(key, value)
		case "shuffle_sharding_config":
			r.shard(key, value, &c.shard)
		default:
			return false
		}
		return true
	})
	if matcher == "" {
		matcher = matchExact
	}
	c.tenants = newTenantSet(tenants, matcher)
	return c
}

func (r *hashringReader) endpoints(field string, raw json.RawMessage) (endpoints []Endpoint) {
	for i, item := range r.array(field, raw) {
		at := fmt.Sprintf("%s[%d]", field, i)
		var e Endpoint
		if bytes.HasPrefix(item, []byte(`"`)) {
			readJSON(r, at, item, &e.Address, "a string")
		} else {
			r.object(at, item, func(key string, value json.RawMessage) bool {
				path := memberPath(at, key)
				switch key {
				case "address":
					readJSON(r, path, value, &e.Address, "a string")
				case "capnproto_address":
					readJSON(r, path, value, &e.CapnProtoAddress, "a string")
				case "az":
					readJSON(r, path, value, &e.Zone, "a string")
				default:
					return false
				}
				return true
			})
		}
		if e.Address == "" {
			r.unread(at, "it has no address")
		} else if e.CapnProtoAddress == "" {
			e.CapnProtoAddress = defaultCapnProtoAddress(e.Address)
		}
		endpoints = append(endpoints, e)
	}
	return endpoints
}

func defaultCapnProtoAddress(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host, _, _ = strings.Cut(address, ":")
	}
	return net.JoinHostPort(host, defaultCapnProtoPort)
}

func (r *hashringReader) labels(field string, raw json.RawMessage) labels.Labels {
	set := map[string]string{}
	size := 0
	r.object(field, raw, func(name string, value json.RawMessage) bool {
		at := memberPath(field, name)
		var text string
		if !readJSON(r, at, value, &text, "a string") {
			return true
		}
		switch {
		case name == "" || text == "":
			r.wrong(at, "names and values of labels must not be empty")
		case name == model.MetricNameLabel:
			r.wrong(at, "it is the metric's name and cannot be an external label")
		}
		set[name] = text
		size += len(name) + len(text)
		return true
	})
	if size > MaxLabelBytes {
		r.wrong(field, "they are longer than %d bytes together", MaxLabelBytes)
		return labels.EmptyLabels()
	}
	return labels.FromMap(set)
}

func (r *hashringReader) shard(field string, raw json.RawMessage, c *shardConfig) {
	r.object(field, raw, func(key string, value json.RawMessage) bool {
		at := memberPath(field, key)
		switch key {
		case "shard_size":
			readJSON(r, at, value, &c.size, "a whole number")
		case "cache_size":
			readJSON(r, at, value, &c.cacheSize, "a whole number")
		case "zone_awareness_disabled":
			readJSON(r, at, value, &c.zonesDisabled, "true or false")
		case "overrides":
			for i, item := range r.array(at, value) {
				c.overrides = append(c.overrides, r.override(fmt.Sprintf("%s[%d]", at, i), item))
			}
		default:
			return false
		}
		return true
	})
	if c.cacheSize <= 0 {
		c.cacheSize = defaultShardCacheSize
	}
}

func (r *hashringReader) override(field string, raw json.RawMessage) (o shardOverride) {
	var tenants []string
	var matcher string
	r.object(field, raw, func(key string, value json.RawMessage) bool {
		at := memberPath(field, key)
		switch key {
		case "shard_size":
			readJSON(r, at, value, &o.size, "a whole number")
		case "tenants":
			readJSON(r, at, value, &tenants, "an array of strings")
		case "tenant_matcher_type":
			readJSON(r, at, value, &matcher, "a string")
		default:
			return false
		}
		return true
	})
	o.tenants = newTenantSet(tenants, matcher)
	return o
}

// readJSON stores a value of JSON and reports whether it is of the wanted kind.
func readJSON[T any](r *hashringReader, field string, raw json.RawMessage, into *T, want string) bool {
	var value T
	if isNull(raw) {
		return true
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		r.unread(field, "it must be %s, but is %s", want, clip(string(raw), 80))
		return false
	}
	*into = value
	return true
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

func (r *hashringReader) array(field string, raw json.RawMessage) (items []json.RawMessage) {
	readJSON(r, field, raw, &items, "an array")
	return items
}

// object calls member for each member of an object and reports keys that it
// does not know or that come twice: encoding/json would take the last.
func (r *hashringReader) object(field string, raw json.RawMessage, member func(key string, value json.RawMessage) bool) {
	if isNull(raw) {
		return
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		r.unread(field, "it must be an object, but is %s", clip(string(raw), 80))
		return
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		key, ok := token.(string)
		var value json.RawMessage
		if err == nil && ok {
			err = dec.Decode(&value)
		}
		if err != nil || !ok {
			r.unread(field, "no valid JSON: %v", err)
			return
		}
		switch {
		case seen[key]:
			r.wrong(memberPath(field, key), "the key comes twice")
		case !member(key, value):
			r.wrong(memberPath(field, key), "the key is not known: mind its spelling, or leave it out")
		}
		seen[key] = true
	}
}
