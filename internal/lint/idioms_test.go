package lint

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// selectors that an embedding program pays for, each with the remedy.
var selectors = map[string]string{
	"os.Exit":                       "return an error",
	"log.Fatal":                     "return an error",
	"log.Fatalf":                    "return an error",
	"prometheus.MustRegister":       "register on the host's registerer and return the error",
	"prometheus.Register":           "register on the host's registerer",
	"prometheus.DefaultRegisterer":  "take a registerer in Options",
	"prometheus.DefaultGatherer":    "take a gatherer as an argument",
	"http.DefaultServeMux":          "return a handler",
	"http.Handle":                   "return a handler",
	"http.HandleFunc":               "return a handler",
	"http.DefaultTransport":         "take a client in Options",
	"http.DefaultClient":            "take a client in Options",
	"slog.Default":                  "take a logger in Options",
	"slog.SetDefault":               "leave the host's logger alone",
	"otel.GetTracerProvider":        "take a tracer provider in Options",
	"otel.SetTracerProvider":        "leave the host's tracer alone",
	"encoding.RegisterCodec":        "set the codec on the server or connection",
	"encoding.RegisterCompressor":   "set the compressor on the server or connection",
	"debug.SetGCPercent":            "leave the host's runtime alone",
	"debug.SetMemoryLimit":          "leave the host's runtime alone",
	"labels.SetDefaultSymbolTable":  "leave the host's process alone",
	"model.SetNameValidationScheme": "leave the host's process alone",
}

// library are the files that end up in a host's program.
func library(t *testing.T) (files []file) {
	for _, f := range sources(t) {
		if !f.test && !under(f.dir, "examples") && !under(f.dir, testOnly...) {
			files = append(files, f)
		}
	}
	return files
}

func TestNothingAnEmbeddingProgramPaysFor(t *testing.T) {
	for _, f := range library(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					t.Errorf("%s: an init function runs in every program that imports the package", f.pos(n))
				}
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok && pkg.Obj == nil {
					if remedy := selectors[pkg.Name+"."+n.Sel.Name]; remedy != "" {
						t.Errorf("%s: %s.%s: %s", f.pos(n), pkg.Name, n.Sel.Name, remedy)
					}
				}
			case *ast.CallExpr:
				if fn, ok := n.Fun.(*ast.Ident); ok && fn.Name == "panic" && !abort(n) && !explained(f, n) {
					t.Errorf("%s: panic without a comment on its line or the one above that starts with \"unreachable:\"", f.pos(n))
				}
			}
			return true
		})
	}
}

// abort reports whether a panic is the one by which a handler ends a
// connection, which net/http catches.
func abort(call *ast.CallExpr) bool {
	arg, ok := call.Args[0].(*ast.SelectorExpr)
	return ok && arg.Sel.Name == "ErrAbortHandler"
}

// explained reports whether a comment beside n says why it cannot happen.
func explained(f file, n ast.Node) bool {
	line := f.fset.Position(n.Pos()).Line
	for _, group := range f.ast.Comments {
		last := f.fset.Position(group.End()).Line
		if (last == line || last == line-1) && strings.Contains(group.Text(), "unreachable:") {
			return true
		}
	}
	return false
}

func TestPackageVariablesDoNotChange(t *testing.T) {
	for _, f := range library(t) {
		check := func(target ast.Expr) {
			for {
				switch e := target.(type) {
				case *ast.IndexExpr:
					target = e.X
					continue
				case *ast.SelectorExpr:
					target = e.X
					continue
				case *ast.StarExpr:
					target = e.X
					continue
				}
				break
			}
			id, ok := target.(*ast.Ident)
			if !ok || id.Obj == nil || id.Obj.Kind != ast.Var {
				return
			}
			if f.ast.Scope.Lookup(id.Name) == id.Obj {
				t.Errorf("%s: the package variable %s is changed: two instances in one process would share it", f.pos(id), id.Name)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, target := range n.Lhs {
						check(target)
					}
				}
			case *ast.IncDecStmt:
				check(n.X)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					check(n.X)
				}
			}
			return true
		})
	}
}

// maxLines is where a file stops being something a person reads in a few
// screens.
const maxLines = 450

func TestFilesAreReadInAFewScreens(t *testing.T) {
	for _, f := range library(t) {
		if f.lines > maxLines {
			t.Errorf("%s has %d lines, more than %d. Is there a second noun inside?", f.path, f.lines, maxLines)
		}
	}
}

func TestEveryPackageHasADocAndAnExample(t *testing.T) {
	doc, example, dirs := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, f := range sources(t) {
		if under(f.dir, "examples") {
			continue
		}
		dirs[f.dir] = true
		switch filepath.Base(f.path) {
		case "doc.go":
			doc[f.dir] = f.ast.Doc != nil
		case "example_test.go":
			example[f.dir] = true
		}
	}
	for dir := range dirs {
		if !doc[dir] {
			t.Errorf("%s has no doc.go with a package comment", dir)
		}
		if !example[dir] && dir != "." && !internal(dir) {
			t.Errorf("%s has no example_test.go", dir)
		}
	}
}

func TestEveryFolderWithGoroutinesLooksForLeaks(t *testing.T) {
	spawns, checks := map[string]bool{}, map[string]bool{}
	for _, f := range sources(t) {
		if under(f.dir, "examples") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				spawns[f.dir] = spawns[f.dir] || !f.test
			case *ast.SelectorExpr:
				if n.Sel.Name == "VerifyTestMain" {
					checks[f.dir] = true
				}
			}
			return true
		})
		for _, spec := range f.ast.Imports {
			if !f.test && spec.Path.Value == `"golang.org/x/sync/errgroup"` {
				spawns[f.dir] = true
			}
		}
	}
	for dir := range spawns {
		if spawns[dir] && !checks[dir] && !under(dir, testOnly...) {
			t.Errorf("%s starts goroutines but no TestMain of it calls goleak.VerifyTestMain", dir)
		}
	}
}

func TestModuleFileServesHosts(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"replace", "exclude", "toolchain"} {
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(strings.TrimSpace(line), word+" ") {
				t.Errorf("go.mod has a %s line, which a host's go get ignores or trips over: %s", word, line)
			}
		}
	}
}
