package receive

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"
)

// Whatever becomes of a file, what it said when it was last good is current,
// what takes its place is another value, and each look is counted once.
func TestFollowedFileAgainstModel(t *testing.T) {
	errBad := errors.New("bad")
	path := filepath.Join(t.TempDir(), "followed")
	rapid.Check(t, func(t *rapid.T) {
		var (
			told   []string
			longer int // the longest text that was handed to parse
		)
		f := &followedFile[string]{
			name: "file of texts", path: path, maxBytes: 4,
			parse: func(text []byte) (*string, error) {
				longer = max(longer, len(text))
				if len(text) > 4 || strings.HasPrefix(string(text), "bad") {
					return nil, errBad
				}
				s := string(text)
				return &s, nil
			},
			changed: func(now *string, text []byte) { told = append(told, *now+"="+string(text)) },
			log:     slog.New(slog.DiscardHandler),
			metrics: newFollowedFileMetrics("test_", "file of texts", "texts"),
		}
		var (
			want                       *string
			changed, unchanged, failed int
		)
		for range rapid.IntRange(1, 20).Draw(t, "looks") {
			text := rapid.SampledFrom([]string{"gone", "", "a", "b", "bad1", "bad2", strings.Repeat("a", 100)}).Draw(t, "text")
			var wrong error
			switch {
			case text == "gone":
				wrong = fs.ErrNotExist
				if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
			case strings.HasPrefix(text, "bad"), len(text) > 4:
				wrong = errBad
			}
			if text != "gone" {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := f.current.Load()
			err := f.load(t.Context())
			now := f.current.Load()
			switch {
			case wrong != nil:
				failed++
				if !errors.Is(err, wrong) || !strings.Contains(err.Error(), "file of texts "+path) || now != before {
					t.Fatalf("%q: %v, and another value: %v", text, err, now != before)
				}
			case err != nil:
				t.Fatalf("%q: %v", text, err)
			case want != nil && *want == text:
				unchanged++
				if now != before {
					t.Fatalf("%q again is another value", text)
				}
			default:
				changed++
				want = &text
				if now == before || *now != text || told[len(told)-1] != text+"="+text {
					t.Fatalf("%q: current is %v, told of %q", text, now, told)
				}
			}
		}
		m := f.metrics
		got := [...]float64{testutil.ToFloat64(m.changed), testutil.ToFloat64(m.unchanged), testutil.ToFloat64(m.failed)}
		if got != [...]float64{float64(changed), float64(unchanged), float64(failed)} || len(told) != changed || longer > 5 {
			t.Fatalf("counted %v, want %d changed, %d unchanged, %d failed; told of %q; read %d bytes of a file that may have 4", got, changed, unchanged, failed, told, longer)
		}
	})
}
