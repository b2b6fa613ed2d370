package objstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/filesystem"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// fake is a provider that keeps the configuration it got.
func fake(typ string, got *string) objstore.Provider {
	return objstore.Provider{Type: typ, New: func(config []byte, _ objstore.ProviderOptions) (objstore.Bucket, error) {
		*got = string(config)
		return objstoretest.NewMemory(), nil
	}}
}

func TestFromYAMLPassesConfigAsItIs(t *testing.T) {
	for name, c := range map[string]struct{ cfg, want string }{
		"plain":           {"type: FAKE\nconfig:\n  bucket: b\n  nested:\n    key: v\n", "bucket: b\nnested:\n    key: v\n"},
		"any case":        {"type: fAkE\nconfig: {bucket: b}\n", "{bucket: b}\n"},
		"numbers as text": {"type: FAKE\nconfig:\n  secret_key: 0123\n  access_key: 1e3\n", "secret_key: 0123\naccess_key: 1e3\n"},
		"quoted":          {"type: 'FAKE'\nconfig:\n  key: \"yes\"\n", "key: \"yes\"\n"},
		"block text":      {"type: FAKE\nconfig:\n  service_account: |-\n    {\n      \"a\": 1\n    }\n", "service_account: |-\n    {\n      \"a\": 1\n    }\n"},
		"none":            {"type: FAKE\n", ""},
		"null":            {"type: FAKE\nconfig:\nprefix:\n", ""},
		"anchor":          {"type: &t FAKE\nconfig:\n  a: *t\n  b: &b {x: 1}\n  c: *b\n", "a: FAKE\nb: {x: 1}\nc: {x: 1}\n"},
		"json":            {`{"type": "FAKE", "config": {"bucket": "b"}}`, "{\"bucket\": \"b\"}\n"},
		"document marks":  {"---\ntype: FAKE\nconfig: {a: b}\n...\n", "{a: b}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			if _, err := objstore.FromYAML([]byte(c.cfg), fake("OTHER", new(string)), fake("FAKE", &got)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("the provider got (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFromYAMLPrefix(t *testing.T) {
	for prefix, want := range map[string]string{
		"":           "object",
		"p":          "p/object",
		"/p/":        "p/object",
		"///a/b///":  "a/b/object",
		"/":          "object",
		"////":       "object",
		"a b/ü":      "a b/ü/object",
		"0123":       "0123/object",
		"with.dot/-": "with.dot/-/object",
	} {
		memory := objstoretest.NewMemory()
		p := objstore.Provider{Type: "FAKE", New: func([]byte, objstore.ProviderOptions) (objstore.Bucket, error) { return memory, nil }}
		b, err := objstore.FromYAML([]byte("type: FAKE\nprefix: "+prefix+"\n"), p)
		if err != nil {
			t.Fatalf("prefix %q: %v", prefix, err)
		}
		if err := b.Upload(context.Background(), "object", strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		if got := memory.Names(); !slices.Equal(got, []string{want}) {
			t.Errorf("prefix %q stores %q, want %q", prefix, got, want)
		}
	}
}

func TestFromYAMLRefuses(t *testing.T) {
	failing := objstore.Provider{Type: "FAILING", New: func([]byte, objstore.ProviderOptions) (objstore.Bucket, error) {
		return nil, errors.New("no luck today")
	}}
	nothing := objstore.Provider{Type: "NOTHING", New: func([]byte, objstore.ProviderOptions) (objstore.Bucket, error) { return nil, nil }}
	bomb := "type: FAKE\nconfig:\n  a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += "  " + string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 8) + "*" + string(c-1) + "]\n"
	}
	for name, c := range map[string]struct {
		cfg  string
		want []string
	}{
		"empty":             {"", []string{"empty", "type"}},
		"blank":             {"\n  \n# nothing here\n", []string{"empty"}},
		"null":              {"null", []string{"empty"}},
		"text":              {"FAKE", []string{"not a mapping"}},
		"list":              {"- type: FAKE", []string{"not a mapping"}},
		"not YAML":          {"type: [", []string{"yaml"}},
		"tabs":              {"type:\n\t- x", []string{"yaml"}},
		"two documents":     {"type: FAKE\n---\ntype: FAKE\n", []string{"more than one"}},
		"no type":           {"config: {}\n", []string{"no type"}},
		"empty type":        {"type: ''\n", []string{"type is empty"}},
		"type is a list":    {"type: [FAKE]\n", []string{"type must be text"}},
		"prefix is a map":   {"type: FAKE\nprefix: {a: b}\n", []string{"prefix must be text"}},
		"prefix leads out":  {"type: FAKE\nprefix: a/../../b\n", []string{"line 2", "prefix", `".."`}},
		"prefix is a dot":   {"type: FAKE\nprefix: /./\n", []string{"prefix", `"."`}},
		"prefix has a gap":  {"type: FAKE\nprefix: a//b\n", []string{"prefix", "empty element"}},
		"config is text":    {"type: FAKE\nconfig: bucket\n", []string{"config must be a mapping"}},
		"unknown key":       {"type: FAKE\nconfg: {}\n", []string{`"confg"`, "line 2", "prefix"}},
		"two unknown keys":  {"type: FAKE\nconfg: {}\nfoo: 1\n", []string{`"confg"`, `"foo"`}},
		"twice":             {"type: FAKE\ntype: FAKE\n", []string{`"type"`, "twice"}},
		"unknown type":      {"type: S4\n", []string{`"S4"`, "FAKE", "FAILING", "ALIYUNOSS"}},
		"not handed in":     {"type: gcs\n", []string{`"gcs"`, "FAKE", "github.com/varve-tsdb/varve/objstore/gcs", "gcs.Provider()"}},
		"oss by its type":   {"type: ALIYUNOSS\n", []string{"github.com/varve-tsdb/varve/objstore/oss"}},
		"provider fails":    {"type: FAILING\n", []string{"FAILING", "no luck today"}},
		"provider is empty": {"type: NOTHING\n", []string{"NOTHING"}},
		"alias bomb":        {bomb, []string{"aliases"}},
		"endless alias":     {"type: FAKE\nconfig: &a\n  b: *a\n", []string{"alias"}},
		"deep unknown key":  {"type: FILESYSTEM\nconfig:\n  directory: /x\n  dir: /y\n", []string{"FILESYSTEM", "dir", "line 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := objstore.FromYAML([]byte(c.cfg), fake("FAKE", new(string)), failing, nothing, filesystem.Provider())
			if err == nil {
				t.Fatalf("opened %v", b)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not mention %q", err, want)
				}
			}
		})
	}
}

func TestFromYAMLWithoutProviders(t *testing.T) {
	_, err := objstore.FromYAML([]byte("type: S3\n"))
	if err == nil || !strings.Contains(err.Error(), "objstore/s3") {
		t.Fatalf("error %v does not say what to import", err)
	}
	_, err = objstore.FromYAML([]byte("type: FAKE\n"), fake("FAKE", new(string)), fake("fake", new(string)))
	if err == nil {
		t.Fatal("two providers of one type were accepted")
	}
}

func TestProviderOptionsReachTheProvider(t *testing.T) {
	var got objstore.ProviderOptions
	p := objstore.Provider{Type: "FAKE", New: func(_ []byte, opts objstore.ProviderOptions) (objstore.Bucket, error) {
		got = opts
		return objstoretest.NewMemory(), nil
	}}
	if _, err := objstore.FromYAML([]byte("type: FAKE"), p.With(objstore.ProviderOptions{Component: "collector"})); err != nil {
		t.Fatal(err)
	}
	if got.Component != "collector" {
		t.Fatalf("the provider got %+v", got)
	}
}

func FuzzFromYAML(f *testing.F) {
	for _, cfg := range []string{
		"type: FAKE\nconfig:\n  a: b\nprefix: p\n", "{type: FAKE, config: {a: [1, {b: c}]}}", "type: &a FAKE\nconfig: {x: *a}\n",
		"a: &a {b: *a}", "type: FAKE\n<<: {prefix: x}\n", "? [a]\n: b\n", "type: !!binary aGVsbG8=\n", "",
	} {
		f.Add(cfg)
	}
	f.Fuzz(func(t *testing.T, cfg string) {
		b, err := objstore.FromYAML([]byte(cfg), fake("FAKE", new(string)))
		if (b == nil) == (err == nil) {
			t.Fatalf("got bucket %v and error %v", b, err)
		}
	})
}
