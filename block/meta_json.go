package block

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ParseMeta reads the content of a meta.json and checks it with Validate.
// Fields it does not know are kept. Every error is an ErrMetaInvalid.
func ParseMeta(b []byte) (*Meta, error) {
	m := &Meta{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMetaInvalid, err)
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// Encode returns the content of meta.json: indented by tabs, fields in the
// order in which Thanos writes them, ended by a newline.
func (m *Meta) Encode() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetIndent("", "\t")
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encode meta.json of block %s: %w", m.ULID, err)
	}
	return buf.Bytes(), nil
}

// The known fields, to tell which ones are unknown. A test holds the lists to
// the struct tags.
func metaFields() []string {
	return []string{"ulid", "minTime", "maxTime", "stats", "compaction", "version", "thanos"}
}

func thanosFields() []string {
	return []string{
		"version", "labels", "downsample", "source", "segment_files", "files",
		"rewrites", "index_stats", "extensions", "upload_time",
	}
}

// UnmarshalJSON keeps unknown fields.
func (m *Meta) UnmarshalJSON(b []byte) error {
	type plain Meta
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	var err error
	p.Unknown, err = unknownFields(b, metaFields())
	*m = Meta(p)
	return err
}

// MarshalJSON writes unknown fields behind the known ones.
func (m Meta) MarshalJSON() ([]byte, error) {
	type plain Meta
	b, err := json.Marshal(plain(m))
	if err != nil {
		return nil, err
	}
	return appendFields(b, m.Unknown)
}

// UnmarshalJSON keeps unknown fields.
func (t *Thanos) UnmarshalJSON(b []byte) error {
	type plain Thanos
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	var err error
	p.Unknown, err = unknownFields(b, thanosFields())
	*t = Thanos(p)
	return err
}

// MarshalJSON writes unknown fields behind the known ones.
func (t Thanos) MarshalJSON() ([]byte, error) {
	type plain Thanos
	b, err := json.Marshal(plain(t))
	if err != nil {
		return nil, err
	}
	return appendFields(b, t.Unknown)
}

// unknownFields returns the fields of a JSON object that are not known. Names
// are compared as encoding/json matches them to struct fields, without regard
// to case.
func unknownFields(b []byte, known []string) (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool {
		return slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
	})
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// appendFields adds fields, sorted by name, to a JSON object.
func appendFields(object []byte, fields map[string]json.RawMessage) ([]byte, error) {
	if len(fields) == 0 {
		return object, nil
	}
	rest, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	object = append(bytes.TrimSuffix(object, []byte("}")), ',')
	return append(object, rest[1:]...), nil
}
