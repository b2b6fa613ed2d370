package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/varve-tsdb/varve"

// file is a parsed source file of the module.
type file struct {
	path  string // relative to the module's root, with slashes
	dir   string
	lines int
	test  bool
	ast   *ast.File
	fset  *token.FileSet
}

func (f file) pos(n ast.Node) string {
	p := f.fset.Position(n.Pos())
	return f.path + ":" + strconv.Itoa(p.Line)
}

// sources parses every Go file of the module. Modules nested in it are left
// out: they are no part of what a host imports.
func sources(t *testing.T) []file {
	t.Helper()
	root := filepath.Join("..", "..")
	fset := token.NewFileSet()
	var files []file
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, nested := os.Stat(filepath.Join(name, "go.mod"))
			switch {
			case name != root && nested == nil, d.Name() == "testdata", d.Name() == "node_modules",
				name != root && strings.HasPrefix(d.Name(), "."):
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(name, root+string(filepath.Separator)))
		files = append(files, file{
			path: rel, dir: path.Dir(rel), lines: strings.Count(string(text), "\n"),
			test: strings.HasSuffix(rel, "_test.go"), ast: parsed, fset: fset,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("found %d files below %s, expected the whole module", len(files), root)
	}
	return files
}

// under reports whether dir is one of the folders or below one.
func under(dir string, folders ...string) bool {
	for _, folder := range folders {
		if dir == folder || strings.HasPrefix(dir, folder+"/") {
			return true
		}
	}
	return false
}

// internal reports whether dir cannot be imported from outside.
func internal(dir string) bool {
	return slices.Contains(strings.Split(dir, "/"), "internal")
}
