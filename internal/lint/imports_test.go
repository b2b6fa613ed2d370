package lint

import (
	"strconv"
	"strings"
	"testing"
)

// siblings lists what each public package may import of the module, besides
// itself, folders below itself and what is internal.
var siblings = map[string][]string{
	".":        {},
	"objstore": {},
	"block":    {"objstore"},
	"store":    {"objstore", "block"},
	"dedup":    {},
	"query":    {},
	"receive":  {},
}

// testOnly are packages that only tests may import.
var testOnly = []string{"internal/blocktest", "internal/grpcwire/grpctest", "internal/lint", "internal/wiring", "objstore/objstoretest", "query/querytest"}

// forbidden lists foreign imports and the only folders that may have them.
// A trailing slash forbids everything below.
var forbidden = []struct {
	path    string
	allowed []string
	why     string
}{
	{"github.com/prometheus/prometheus/tsdb", []string{"receive", "block/compact", "internal/blocktest", "internal/wiring"}, "it pulls 80 modules"},
	{"github.com/prometheus/prometheus/storage/remote", nil, "it registers metrics on the default registry"},
	{"github.com/prometheus/prometheus/storage/remote/otlptranslator/", []string{"receive/otlp"}, "only who asks for OTLP pays for it"},
	{"github.com/prometheus/otlptranslator", []string{"receive/otlp"}, "only who asks for OTLP pays for it"},
	{"go.opentelemetry.io/collector/", []string{"receive/otlp"}, "only who asks for OTLP pays for it"},
	{"github.com/prometheus/prometheus/config", []string{"receive"}, "it pulls every service discovery, as tsdb does"},
	{"github.com/prometheus/prometheus/web/", nil, "it keeps global metrics"},
	{"github.com/prometheus/prometheus/prompb", nil, "the wire formats have decoders of their own"},
	{"github.com/prometheus/prometheus/promql", []string{"query"}, "only queries need an engine"},
	{"github.com/prometheus/client_golang/prometheus/promauto", nil, "it registers on the default registry"},
	{"github.com/thanos-io/thanos/", nil, "it changes the process it is linked into"},
	{"github.com/gogo/protobuf/", nil, "wire types stay in their adapters"},
	{"google.golang.org/grpc", []string{"store/storeapi", "receive/writestore", "internal/grpcwire"}, "only the adapters of Thanos' services speak gRPC"},
	{"github.com/pkg/errors", nil, "the standard library does it"},
	{"github.com/stretchr/testify/", nil, "tests use the standard library and go-cmp"},
	{"log", nil, "loggers are arguments"},
}

func TestImportDirections(t *testing.T) {
	for _, f := range sources(t) {
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if own, ok := strings.CutPrefix(imported, module+"/"); ok {
				checkOwnImport(t, f, own)
			} else if !f.test {
				checkForeignImport(t, f, imported)
			}
		}
	}
}

func checkOwnImport(t *testing.T, f file, imported string) {
	if f.test || under(f.dir, "examples") {
		return
	}
	if under(imported, testOnly...) && !under(f.dir, testOnly...) {
		t.Errorf("%s imports %s, which is for tests only", f.path, imported)
	}
	top, _, _ := strings.Cut(f.dir, "/")
	if top == "internal" {
		if !under(imported, "internal") && !under(f.dir, testOnly...) {
			t.Errorf("%s imports %s: what is internal stands below all public packages", f.path, imported)
		}
		return
	}
	allowed, known := siblings[top]
	if !known {
		t.Errorf("%s: the package %s has no line in the table of import directions", f.path, top)
		return
	}
	if !under(imported, append([]string{top, "internal"}, allowed...)...) {
		t.Errorf("%s imports %s: %s may import %v only", f.path, imported, top, allowed)
	}
}

func checkForeignImport(t *testing.T, f file, imported string) {
	for _, rule := range forbidden {
		folder, below := strings.CutSuffix(rule.path, "/")
		hit := imported == folder || below && strings.HasPrefix(imported, rule.path)
		if !hit || under(f.dir, rule.allowed...) || under(f.dir, testOnly...) || under(f.dir, "examples") {
			continue
		}
		t.Errorf("%s imports %s, which is for %v only: %s", f.path, imported, rule.allowed, rule.why)
	}
}
