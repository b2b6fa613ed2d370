package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// peers are what go build makes the foreign programs of, by the name of their
// module file's folder.
var peers = map[string][]string{
	"prometheus": {"github.com/prometheus/prometheus/cmd/prometheus"},
	"minio":      {"github.com/minio/minio"},
	"thanos":     {"-tags=slicelabels", "github.com/thanos-io/thanos/cmd/thanos"},
	"vmagent":    {"github.com/VictoriaMetrics/VictoriaMetrics/app/vmagent"},
}

// peer returns the path of a foreign program, built at its first use. The
// cached program is named after its module file, so a new version is built
// anew.
func peer(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join("peers", name)
	sum := sha256.New()
	for _, file := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
	}
	binary := filepath.Join(cacheDir(t), name+"-"+hex.EncodeToString(sum.Sum(nil))[:12])
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	t.Logf("building %s, which takes some minutes the first time", name)
	goBuild(t, dir, binary, peers[name]...)
	return binary
}

// example builds one of this repository's example programs.
func example(t *testing.T, name string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), name)
	goBuild(t, filepath.Join("..", ".."), binary, "./examples/"+name)
	return binary
}

// debianPrometheus returns the path of the Prometheus of Debian 12, a sender
// that knows nothing of remote write 2.0.
func debianPrometheus(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(cacheDir(t), "debian-prometheus")
	binary := filepath.Join(dir, "usr", "bin", "prometheus")
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("Debian's prometheus package comes by apt-get, which is not on this machine")
	}
	download := t.TempDir()
	run(t, download, "apt-get", "download", "prometheus")
	packages, err := filepath.Glob(filepath.Join(download, "prometheus_*.deb"))
	if err != nil || len(packages) != 1 {
		t.Fatalf("apt-get download left %v (%v)", packages, err)
	}
	run(t, download, "dpkg-deb", "-x", packages[0], dir)
	return binary
}

func cacheDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("VARVE_E2E_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			t.Fatalf("%v; set VARVE_E2E_CACHE", err)
		}
		dir = filepath.Join(user, "varve-e2e")
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func goBuild(t *testing.T, dir, binary string, target ...string) {
	t.Helper()
	part := binary + ".part"
	run(t, dir, "go", append([]string{"build", "-o", part}, target...)...)
	if err := os.Rename(part, binary); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}
