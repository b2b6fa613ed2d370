package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	accessKey = "varve-e2e"
	secretKey = "varve-e2e-secret"
)

// objectStore is a MinIO with one empty bucket.
type objectStore struct {
	address string
	bucket  string
	client  *minio.Client
}

func startMinIO(t *testing.T) *objectStore {
	t.Helper()
	s := &objectStore{address: freeAddress(t), bucket: "varve-blocks"}
	t.Setenv("MINIO_ROOT_USER", accessKey)
	t.Setenv("MINIO_ROOT_PASSWORD", secretKey)
	p := start(t, "minio", peer(t, "minio"), "server", "--quiet",
		"--address", s.address, "--console-address", freeAddress(t), t.TempDir())
	p.ready(t, "http://"+s.address+"/minio/health/ready")

	client, err := minio.New(s.address, &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	s.client = client
	if err := client.MakeBucket(context.Background(), s.bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// config is what --objstore.config-file wants to read.
func (s *objectStore) config() string {
	return fmt.Sprintf(`type: S3
config:
  bucket: %s
  endpoint: %s
  access_key: %s
  secret_key: %s
  insecure: true
`, s.bucket, s.address, accessKey, secretKey)
}

// metas returns the objects that complete a block, by name.
func (s *objectStore) metas(t *testing.T) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for object := range s.client.ListObjects(context.Background(), s.bucket, minio.ListObjectsOptions{Recursive: true}) {
		if object.Err != nil {
			t.Fatal(object.Err)
		}
		if !strings.HasSuffix(object.Key, "/meta.json") {
			continue
		}
		body, err := s.client.GetObject(context.Background(), s.bucket, object.Key, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		text := make([]byte, object.Size)
		if n, err := body.Read(text); int64(n) != object.Size {
			t.Fatalf("%s: %d of %d bytes: %v", object.Key, n, object.Size, err)
		}
		found[object.Key] = text
	}
	return found
}

// sender is a Prometheus that scrapes itself and the demo target and writes
// everything to Varve with one more label: from, its own name.
type sender struct {
	name    string
	address string
	modern  bool // 3.0 or later
	*process
}

// startSender starts a Prometheus. message is the protobuf message that it
// writes; empty leaves the choice to a server too old to have one.
func startSender(t *testing.T, name, binary, message, target, write string) *sender {
	t.Helper()
	s := &sender{name: name, address: freeAddress(t), modern: message != ""}
	native, modern := "", ""
	if message != "" {
		native = "  scrape_native_histograms: true\n"
		modern = fmt.Sprintf("    protobuf_message: %s\n", message)
	}
	config := writeFile(t, "prometheus.yml", fmt.Sprintf(`global:
  scrape_interval: 1s
  scrape_timeout: 1s
%sscrape_configs:
  - job_name: prometheus
    static_configs: [{targets: [%q]}]
  - job_name: demo
    static_configs: [{targets: [%q]}]
remote_write:
  - url: %s
%s    send_exemplars: true
    send_native_histograms: true
    queue_config: {batch_send_deadline: 500ms}
    write_relabel_configs:
      - {target_label: from, replacement: %s}
`, native, s.address, target, write, modern, name))
	s.process = start(t, name, binary,
		"--config.file="+config, "--storage.tsdb.path="+t.TempDir(),
		"--web.listen-address="+s.address, "--enable-feature="+features(message))
	s.ready(t, "http://"+s.address+"/-/ready")
	return s
}

func features(message string) string {
	if message == "" {
		return "exemplar-storage"
	}
	return "exemplar-storage,metadata-wal-records"
}
