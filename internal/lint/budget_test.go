package lint

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// heavy are dependencies that only the named packages may link, whatever the
// path they come in by.
var heavy = []struct {
	prefix  string
	allowed []string
}{
	{"cloud.google.com/", []string{"objstore/gcs", "receive", "examples"}},
	{"github.com/Azure/", []string{"objstore/azure", "receive", "examples"}},
	{"github.com/aws/", []string{"objstore/s3", "receive", "examples"}},
	{"github.com/minio/", []string{"objstore/s3", "examples"}},
	{"k8s.io/", []string{"query", "receive", "examples"}},
	{"go.opentelemetry.io/collector/", []string{"receive/otlp", "examples"}},
	{"google.golang.org/api/", []string{"objstore/gcs", "receive", "examples"}},
	{"github.com/prometheus/prometheus/tsdb", []string{"receive", "examples"}},
}

// lightTSDB are the parts of tsdb that everyone may link.
var lightTSDB = []string{"index", "chunks", "chunkenc", "encoding", "fileutil", "tombstones", "record", "wlog", "errors"}

type listed struct {
	ImportPath string
	Standard   bool
	Deps       []string
	Module     *struct{ Path string }
}

// dependencies lists every package of the module outside internal, and what
// each package known to the build belongs to.
func dependencies(t *testing.T) (own []listed, moduleOf map[string]string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Deps,Module", "./...")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	moduleOf = map[string]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return own, moduleOf
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Standard || p.Module == nil {
			continue
		}
		moduleOf[p.ImportPath] = p.Module.Path
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if p.Module.Path == module && !internal(name) {
			own = append(own, p)
		}
	}
}

// TestDependencyBudgets holds each public package to the number of foreign
// modules and packages it may link. To print the table as it is now, run
// the test with VARVE_BUDGET=print.
func TestDependencyBudgets(t *testing.T) {
	own, moduleOf := dependencies(t)
	budget := readBudget(t)
	var table []string
	for _, p := range own {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if name == "" || under(name, "examples") {
			continue
		}
		modules, packages := map[string]bool{}, 0
		for _, dep := range p.Deps {
			if m := moduleOf[dep]; m != "" && m != module {
				modules[m] = true
				packages++
			}
		}
		table = append(table, fmt.Sprintf("%-24s %3d %4d", name, len(modules), packages))
		limit, known := budget[name]
		switch {
		case !known:
			t.Errorf("%s has no line in testdata/budget.txt: it links %d modules, %d packages", name, len(modules), packages)
		case len(modules) > limit[0] || packages > limit[1]:
			t.Errorf("%s links %d modules and %d packages, its budget is %d and %d", name, len(modules), packages, limit[0], limit[1])
		}
		checkHeavy(t, name, p.Deps)
	}
	if os.Getenv("VARVE_BUDGET") == "print" {
		sort.Strings(table)
		t.Log("\n" + strings.Join(table, "\n"))
	}
}

func checkHeavy(t *testing.T, name string, deps []string) {
	for _, rule := range heavy {
		if under(name, rule.allowed...) || under(name, testOnly...) {
			continue
		}
		for _, dep := range deps {
			if strings.HasPrefix(dep, rule.prefix) && !light(dep) {
				t.Errorf("%s links %s, which is for %v only", name, dep, rule.allowed)
				break
			}
		}
	}
}

func light(dep string) bool {
	rest, ok := strings.CutPrefix(dep, "github.com/prometheus/prometheus/tsdb/")
	return ok && under(rest, lightTSDB...)
}

func readBudget(t *testing.T) map[string][2]int {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "budget.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	budget := map[string][2]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var name string
		var modules, packages int
		if _, err := fmt.Sscanf(line, "%s %d %d", &name, &modules, &packages); err != nil {
			t.Fatalf("testdata/budget.txt: %q: %v", line, err)
		}
		budget[name] = [2]int{modules, packages}
	}
	return budget
}
