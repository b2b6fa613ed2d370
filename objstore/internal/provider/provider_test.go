package provider_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-kit/log/level"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/azure"
	"github.com/varve-tsdb/varve/objstore/bos"
	"github.com/varve-tsdb/varve/objstore/cos"
	"github.com/varve-tsdb/varve/objstore/filesystem"
	"github.com/varve-tsdb/varve/objstore/gcs"
	"github.com/varve-tsdb/varve/objstore/internal/provider"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/objstore/obs"
	"github.com/varve-tsdb/varve/objstore/oci"
	"github.com/varve-tsdb/varve/objstore/oss"
	"github.com/varve-tsdb/varve/objstore/s3"
	"github.com/varve-tsdb/varve/objstore/swift"
)

func all() []objstore.Provider {
	return []objstore.Provider{
		azure.Provider(), bos.Provider(), cos.Provider(), filesystem.Provider(), gcs.Provider(),
		obs.Provider(), oci.Provider(), oss.Provider(), s3.Provider(), swift.Provider(),
	}
}

// fromYAML opens a configuration with all providers.
func fromYAML(cfg string) (objstore.Bucket, error) {
	return objstore.FromYAML([]byte(cfg), all()...)
}

// TestStrict has one wrong key among many right ones for each type, and one
// deeper down where there is a deeper.
func TestStrict(t *testing.T) {
	http := "\n  http_config: {idle_conn_timeout: 1m, wrong_key: 1}"
	for typ, configs := range map[string][]string{
		"FILESYSTEM": {"directory: /x\n  wrong_key: 1"},
		"S3":         {"bucket: b\n  endpoint: localhost\n  wrong_key: 1", "bucket: b\n  endpoint: localhost" + http, "bucket: b\n  sse_config: {wrong_key: x}"},
		"GCS":        {"bucket: b\n  wrong_key: 1", "bucket: b" + http},
		"AZURE":      {"container: c\n  wrong_key: 1", "container: c" + http, "reader_config: {wrong_key: 1}"},
		"SWIFT":      {"auth_url: x\n  wrong_key: 1", "auth_url: x" + http},
		"COS":        {"bucket: b\n  wrong_key: 1", "bucket: b" + http},
		"ALIYUNOSS":  {"bucket: b\n  wrong_key: 1"},
		"BOS":        {"bucket: b\n  wrong_key: 1"},
		"OBS":        {"bucket: b\n  wrong_key: 1", "bucket: b" + http},
		"OCI":        {"provider: raw\n  wrong_key: 1", "provider: raw" + http},
	} {
		for _, config := range configs {
			_, err := fromYAML("type: " + typ + "\nconfig:\n  " + config + "\n")
			if err == nil || !strings.Contains(err.Error(), "wrong_key") || !strings.Contains(err.Error(), typ) {
				t.Errorf("%s with a wrong key in %q: %v; want an error that names both", typ, config, err)
			}
		}
		_, err := fromYAML("type: " + typ + "\nconfig:\n  twice: 1\n  twice: 2\n")
		if err == nil || !strings.Contains(err.Error(), "twice") {
			t.Errorf("%s with a key that is there twice: %v", typ, err)
		}
	}
}

// TestKeys opens what can be opened without a network, with all keys of the
// format.
func TestKeys(t *testing.T) {
	http := `
  http_config:
    idle_conn_timeout: 1m30s
    response_header_timeout: 2m
    insecure_skip_verify: true
    tls_handshake_timeout: 10s
    expect_continue_timeout: 1s
    max_idle_conns: 100
    max_idle_conns_per_host: 100
    max_conns_per_host: 0
    tls_config: {ca_file: "", cert_file: "", key_file: "", server_name: "", insecure_skip_verify: false}
    disable_compression: false
`
	for typ, config := range map[string]string{
		"filesystem": "directory: " + t.TempDir(),
		"s3": `bucket: metrics
  endpoint: localhost:1
  region: eu
  disable_dualstack: true
  aws_sdk_auth: false
  access_key: a
  secret_key: s
  session_token: t
  insecure: yes
  signature_version2: true
  put_user_metadata: {X-Amz-Storage-Class: STANDARD_IA, a: b}
  trace: {enable: true}
  list_objects_version: v1
  bucket_lookup_type: path
  send_content_md5: false
  disable_multipart: false
  part_size: 16777216
  sse_config: {type: SSE-KMS, kms_key_id: k, kms_encryption_context: {a: b}, encryption_key: ""}
  sts_endpoint: ""
  max_retries: 3` + http,
		"cos":       "bucket: b\n  region: r\n  app_id: '1'\n  endpoint: ''\n  secret_key: k\n  secret_id: i\n  max_retries: 2" + http,
		"aliyunoss": "endpoint: localhost\n  bucket: bucket\n  access_key_id: a\n  access_key_secret: s",
		"bos":       "bucket: b\n  endpoint: localhost\n  access_key: a\n  secret_key: s",
		"obs":       "bucket: b\n  endpoint: localhost\n  access_key: a\n  secret_key: s\n  max_retries: 2" + http,
	} {
		b, err := fromYAML("type: " + typ + "\nconfig:\n  " + config + "\n")
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		if !strings.EqualFold(string(b.Provider()), typ) {
			t.Errorf("%s opened a bucket of %s", typ, b.Provider())
		}
		if err := b.Close(); err != nil {
			t.Errorf("%s: Close: %v", typ, err)
		}
	}
}

// TestIncomplete opens each type without what it needs most.
func TestIncomplete(t *testing.T) {
	for _, p := range all() {
		if b, err := objstore.FromYAML([]byte("type: "+p.Type+"\n"), p); err == nil {
			t.Errorf("%s opened %s without a configuration", p.Type, b.Name())
		} else if !strings.Contains(err.Error(), p.Type) {
			t.Errorf("error %q does not name %s", err, p.Type)
		}
	}
}

func TestLogger(t *testing.T) {
	var out strings.Builder
	l := provider.Logger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})))
	_ = level.Info(l).Log("msg", "hello", "name", "x")
	_ = level.Warn(l).Log("msg", "careful", "err", io.EOF)
	_ = level.Error(l).Log("odd")
	_ = l.Log()
	want := "level=DEBUG msg=hello name=x\nlevel=WARN msg=careful err=EOF\nlevel=ERROR msg=\"object storage client\" odd=(MISSING)\nlevel=DEBUG msg=\"object storage client\"\n"
	if out.String() != want {
		t.Errorf("logged:\n%swant:\n%s", out.String(), want)
	}
	_ = provider.Logger(nil).Log("msg", "nothing")
}

func TestWrapConformance(t *testing.T) {
	objstoretest.TestBucket(t, func(*testing.T) objstore.Bucket { return provider.Wrap(objstoretest.NewMemory()) })
}

// poor is a client as some are: without contexts, ranges unchecked, with
// callbacks' errors reworded.
type poor struct{ *objstoretest.Memory }

func (p poor) Get(_ context.Context, name string) (io.ReadCloser, error) {
	if string(p.Objects()[name]) == "" && p.Objects()[name] != nil {
		return nil, io.EOF
	}
	return p.Memory.Get(context.Background(), name)
}

func (p poor) GetRange(_ context.Context, name string, off, length int64) (io.ReadCloser, error) {
	return p.Memory.GetRange(context.Background(), name, off, length)
}

func (p poor) Exists(_ context.Context, name string) (bool, error) {
	return p.Memory.Exists(context.Background(), name)
}

func (p poor) Attributes(_ context.Context, name string) (objstore.ObjectAttributes, error) {
	return p.Memory.Attributes(context.Background(), name)
}

func (p poor) Delete(_ context.Context, name string) error {
	return p.Memory.Delete(context.Background(), name)
}

func (p poor) Upload(_ context.Context, name string, r io.Reader, _ ...objstore.ObjectUploadOption) error {
	if _, err := objstore.ObjectSize(r); err != nil {
		return err
	}
	return p.Memory.Upload(context.Background(), name, struct{ io.Reader }{r})
}

func (p poor) Iter(_ context.Context, dir string, f func(string) error, options ...objstore.IterOption) error {
	if err := p.Memory.Iter(context.Background(), dir, f, options...); err != nil {
		return errors.New("listing failed: " + err.Error())
	}
	return nil
}

func TestWrapMakesUpForPoorClients(t *testing.T) {
	objstoretest.TestBucket(t, func(*testing.T) objstore.Bucket { return provider.Wrap(poor{objstoretest.NewMemory()}) })
}

func TestWrapDoesNotTakeABrokenConnectionForAnEmptyObject(t *testing.T) {
	memory := objstoretest.NewMemory()
	memory.Put("object", []byte("not empty"))
	faulty := objstoretest.NewFaulty(memory)
	faulty.Set(objstoretest.Rule{Op: objstore.OpGet, Fault: objstoretest.Fail(io.EOF)})
	if _, err := provider.Wrap(faulty).Get(t.Context(), "object"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Get: %v", err)
	}
}

func TestWrapLargeUploadOfUnknownSize(t *testing.T) {
	memory := objstoretest.NewMemory()
	content := strings.Repeat("0123456789abcdef", 17<<16)
	if err := provider.Wrap(memory).Upload(t.Context(), "object", struct{ io.Reader }{strings.NewReader(content)}); err != nil {
		t.Fatal(err)
	}
	if string(memory.Objects()["object"]) != content {
		t.Error("another object was stored")
	}
}
