package s3_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	thanoss3 "github.com/thanos-io/objstore/providers/s3"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/objstore/s3"
)

// server is an S3 server on the loopback interface with one empty bucket.
type server struct {
	s3.Config

	mu       sync.Mutex // requests, deny
	requests []string
	deny     bool
}

func serve(t *testing.T) *server {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("varve"); err != nil {
		t.Fatal(err)
	}
	s := &server{Config: s3.DefaultConfig()}
	fake := gofakes3.New(backend).Server()
	// With TLS, because over plain HTTP the client sends an empty object in
	// chunks, which this server does not take.
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.note(r) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>no</Message></Error>`)
			return
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)

	s.Bucket = "varve"
	s.Endpoint = strings.TrimPrefix(srv.URL, "https://")
	s.HTTPConfig.InsecureSkipVerify = true
	s.AccessKey, s.SecretKey = "key", "secret"
	s.Region = "us-east-1"
	s.BucketLookupType = s3.PathLookup
	s.MaxRetries = 1
	return s
}

// note keeps a request, and says whether to deny it.
func (s *server) note(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := r.Method + " " + r.URL.Path
	if rng := r.Header.Get("Range"); rng != "" {
		line += " " + rng
	}
	s.requests = append(s.requests, line)
	return s.deny
}

// since returns the requests since the last call.
func (s *server) since() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := s.requests
	s.requests = nil
	return requests
}

func (s *server) open(t *testing.T) objstore.Bucket {
	t.Helper()
	b, err := s3.NewBucket(s.Config, objstore.ProviderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	objstoretest.TestBucket(t, func(t *testing.T) objstore.Bucket { return serve(t).open(t) })
}

func TestConformanceDecorated(t *testing.T) {
	objstoretest.TestBucket(t, func(t *testing.T) objstore.Bucket {
		m, err := objstore.WithMetrics(objstore.WithRequests(objstore.WithPrefix(serve(t).open(t), "team")), objstore.MetricsOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := objstore.WithRetry(m, objstore.RetryOptions{MaxBackoff: 1})
		if err != nil {
			t.Fatal(err)
		}
		return r
	})
}

func TestFromYAML(t *testing.T) {
	s := serve(t)
	cfg := fmt.Sprintf(`
type: s3
config:
  bucket: varve
  endpoint: %s
  region: us-east-1
  access_key: key
  secret_key: 0123
  bucket_lookup_type: path
  http_config: {insecure_skip_verify: true}
prefix: /team/
`, s.Endpoint)
	b, err := objstore.FromYAML([]byte(cfg), s3.Provider())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.since(); len(got) != 0 {
		t.Errorf("opening made requests: %q", got)
	}
	if err := b.Upload(t.Context(), "object", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.open(t).Exists(t.Context(), "team/object"); !ok || err != nil {
		t.Errorf("the object is not below the prefix: %v, %v", ok, err)
	}
}

// TestOneRequestEach holds decorated operations to one request, though the
// decorators ask bodies for their size.
func TestOneRequestEach(t *testing.T) {
	s := serve(t)
	m, err := objstore.WithMetrics(objstore.WithRequests(s.open(t)), objstore.MetricsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := objstore.WithRetry(m, objstore.RetryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	read := func(rc io.ReadCloser, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, rc); err != nil {
			t.Error(err)
		}
		_ = rc.Close()
	}
	if err := b.Upload(ctx, "object", strings.NewReader("0123456789")); err != nil {
		t.Fatal(err)
	}
	read(b.Get(ctx, "object"))
	read(b.GetRange(ctx, "object", 2, 3))
	read(b.GetRange(ctx, "object", 2, -1))
	_, _ = b.Exists(ctx, "object")
	_, _ = b.Attributes(ctx, "object")
	_ = b.Iter(ctx, "", func(string) error { return nil })
	_ = b.Delete(ctx, "object")
	want := []string{
		"PUT /varve/object",
		"GET /varve/object",
		"GET /varve/object bytes=2-4",
		"GET /varve/object bytes=2-",
		"HEAD /varve/object",
		"HEAD /varve/object",
		"GET /varve/",
		"DELETE /varve/object",
	}
	if diff := cmp.Diff(want, s.since()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestAccessDenied(t *testing.T) {
	s := serve(t)
	s.deny = true
	b := s.open(t)
	_, err := b.Get(t.Context(), "object")
	wrapped := fmt.Errorf("reading: %w", err)
	if err == nil || !b.IsAccessDeniedErr(wrapped) || b.IsObjNotFoundErr(wrapped) {
		t.Errorf("Get: %v", err)
	}
	if err == nil || !strings.Contains(err.Error(), `get "object"`) {
		t.Errorf("error %v does not name operation and object", err)
	}
}

// TestConfigsDoNotShare opens one bucket with metadata for its objects, and
// looks for them in what another starts from.
func TestConfigsDoNotShare(t *testing.T) {
	c := serve(t).Config
	c.PutUserMetadata["X-Amz-Storage-Class"] = "STANDARD_IA"
	if _, err := s3.NewBucket(c, objstore.ProviderOptions{}); err != nil {
		t.Fatal(err)
	}
	if c.PutUserMetadata["X-Amz-Storage-Class"] == "" {
		t.Error("opening a bucket changed the configuration it was given")
	}
	cfg := "type: S3\nconfig: {bucket: metrics, endpoint: localhost, put_user_metadata: {team: a}}\n"
	if _, err := objstore.FromYAML([]byte(cfg), s3.Provider()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []s3.Config{s3.DefaultConfig(), thanoss3.DefaultConfig} {
		if len(c.PutUserMetadata) != 0 {
			t.Errorf("another configuration starts with %v", c.PutUserMetadata)
		}
	}
}

func TestMultipartUpload(t *testing.T) {
	s := serve(t)
	s.PartSize = 5 << 20
	b := objstore.WithRequests(s.open(t))
	content := strings.Repeat("0123456789abcdef", 12<<16)
	var a objstore.Account
	ctx := objstore.WithAccount(t.Context(), &a)
	if err := b.Upload(ctx, "object", strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	parts := slices.DeleteFunc(s.since(), func(line string) bool { return !strings.HasPrefix(line, "PUT") })
	if len(parts) != 3 {
		t.Errorf("12 MiB in parts of 5 were sent as %q", parts)
	}
	if a.BytesWritten() != 12<<20 {
		t.Errorf("%d bytes written", a.BytesWritten())
	}
	rc, err := b.Get(ctx, "object")
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if got, err := io.ReadAll(rc); err != nil || string(got) != content {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}
