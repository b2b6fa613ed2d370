package lint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestREADMECompiles holds the Go of the README to the example that is
// compiled with the tests.
func TestREADMECompiles(t *testing.T) {
	read := func(name, begin, end string) (lines []string) {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(text), begin)
		part, _, ended := strings.Cut(rest, end)
		if !ok || !ended {
			t.Fatalf("%s has nothing between %q and %q", name, begin, end)
		}
		for line := range strings.Lines(part) {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
		return lines
	}
	shown := read("README.md", "```go\n", "```")
	compiled := read("example_test.go", "// begin\n", "// end\n")
	if got, want := strings.Join(shown, "\n"), strings.Join(compiled, "\n"); got != want {
		t.Errorf("the README shows\n%s\n\nbut what is compiled is\n%s", got, want)
	}
}
