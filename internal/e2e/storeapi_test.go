package e2e

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func filesystemConfig(t *testing.T, dir string) string {
	t.Helper()
	return "--objstore.config-file=" + writeFile(t, "bucket.yaml", fmt.Sprintf("type: FILESYSTEM\nconfig: {directory: %q}\n", dir))
}

// shippedBucket is a folder with the samples in blocks, which allinone has shipped.
func shippedBucket(t *testing.T, s scrapes, replica string) string {
	t.Helper()
	dir := t.TempDir()
	address := freeAddress(t)
	p := start(t, "shipping", example(t, "allinone"), "--http-address="+address, "--grpc-address="+freeAddress(t), "--data-dir="+dir, fmt.Sprintf("--label=replica=%q", replica))
	p.ready(t, "http://"+address+"/-/ready")
	s.write(t, "http://"+address+"/api/v1/write")
	if err := p.terminate(t, time.Minute); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "bucket")
}

// A Thanos Query lists our store, our receiver and allinone as healthy, and answers
// over them as our own querier does.
func TestThanosQueryAsksVarve(t *testing.T) {
	samples, query := newScrapes(), example(t, "query")
	bucket := shippedBucket(t, samples, "store")

	store := struct{ grpc, http string }{freeAddress(t), freeAddress(t)}
	start(t, "store", example(t, "store"), "--grpc-address="+store.grpc, "--http-address="+store.http, "--data-dir="+t.TempDir(), filesystemConfig(t, bucket), "--log.level=debug").
		ready(t, "http://"+store.http+"/-/ready")

	live := struct{ grpc, http string }{freeAddress(t), freeAddress(t)}
	start(t, "allinone", example(t, "allinone"), "--grpc-address="+live.grpc, "--http-address="+live.http, "--data-dir="+t.TempDir(), `--label=replica="allinone"`, "--log.level=debug").
		ready(t, "http://"+live.http+"/-/ready")
	samples.write(t, "http://"+live.http+"/api/v1/write")

	receive := newReceiver(t)
	receive.startVarve(t, example(t, "receive"), "receive", hashring{}, `--label=replica="receive"`)
	samples.write(t, "http://"+receive.write+"/api/v1/receive")

	endpoints := []string{store.grpc, live.grpc, receive.grpc}
	thanos := startThanosQuery(t, nil, endpoints...)
	eventually(t, 30*time.Second, func() error {
		known, err := knownStores(thanos)
		if err != nil {
			return err
		}
		for i, want := range []struct{ kind, replica string }{{"store", "store"}, {"store", "allinone"}, {"receive", "receive"}} {
			s, ok := known[endpoints[i]]
			if !ok || s.LastError != nil || s.kind != want.kind || !hasReplica(s, want.replica) || s.MinTime > samples.from.UnixMilli() || s.MaxTime < samples.to.UnixMilli() {
				return fmt.Errorf("Thanos Query lists %s as %+v", want.replica, s)
			}
		}
		return nil
	})
	ours := startVarveQuery(t, query, nil, endpoints...)
	sameOverStores(t, thanos, ours, samples)
	for _, address := range []string{thanos, ours} {
		e, err := getGet(address, "/api/v1/query", url.Values{"query": {onlyExternal}, "time": {strconv.FormatInt(samples.to.Unix(), 10)}, "partial_response": {"false"}})
		if err != nil || !strings.Contains(string(e.Data), `"value"`) {
			t.Errorf("%s: %s, %v", onlyExternal, e.Data, err)
		}
	}

	t.Run("compressed", func(t *testing.T) {
		sameOverStores(t, thanos, startVarveQuery(t, query, []string{"--grpc-compression=snappy"}, endpoints...), samples)
	})
	t.Run("by way of our querier", func(t *testing.T) {
		middle := freeAddress(t)
		startVarveQuery(t, query, []string{"--grpc-address=" + middle}, endpoints...)
		sameOverStores(t, startThanosQuery(t, nil, middle), ours, samples)
	})
}

func hasReplica(s knownStore, replica string) bool {
	for _, set := range s.LabelSets {
		if set["replica"] == replica {
			return true
		}
	}
	return false
}

// Our querier reads a Thanos Store, a Thanos Receive and a Thanos Sidecar beside a
// Prometheus, and answers over them as Thanos' own does.
func TestVarveQueryAsksThanos(t *testing.T) {
	samples, query := newScrapes(), example(t, "query")
	bucket := shippedBucket(t, samples, "store")
	store := struct{ grpc, http string }{freeAddress(t), freeAddress(t)}
	start(t, "thanos-store", peer(t, "thanos"), "store", "--grpc-address="+store.grpc, "--http-address="+store.http, "--data-dir="+t.TempDir(), filesystemConfig(t, bucket)).
		ready(t, "http://"+store.http+"/-/ready")

	receive := newReceiver(t)
	receive.startThanos(t, "thanos-receive", hashring{}, `--label=replica="receive"`)
	samples.write(t, "http://"+receive.write+"/api/v1/receive")

	prometheus, dir := freeAddress(t), t.TempDir()
	config := writeFile(t, "prometheus.yml", "global:\n  external_labels: {replica: sidecar, tenant_id: default-tenant}\n")
	start(t, "prometheus", peer(t, "prometheus"), "--config.file="+config, "--storage.tsdb.path="+dir, "--web.listen-address="+prometheus, "--web.enable-remote-write-receiver").
		ready(t, "http://"+prometheus+"/-/ready")
	samples.write(t, "http://"+prometheus+"/api/v1/write")
	sidecar := struct{ grpc, http string }{freeAddress(t), freeAddress(t)}
	start(t, "thanos-sidecar", peer(t, "thanos"), "sidecar", "--grpc-address="+sidecar.grpc, "--http-address="+sidecar.http, "--prometheus.url=http://"+prometheus, "--tsdb.path="+dir).
		ready(t, "http://"+sidecar.http+"/-/ready")

	endpoints := []string{store.grpc, receive.grpc, sidecar.grpc}
	thanos := startThanosQuery(t, nil, endpoints...)
	eventually(t, 30*time.Second, func() error {
		known, err := knownStores(thanos)
		if err == nil && len(known) < len(endpoints) {
			err = fmt.Errorf("Thanos Query knows %d of %d endpoints", len(known), len(endpoints))
		}
		return err
	})
	for name, more := range map[string][]string{"plain": nil, "compressed": {"--grpc-compression=snappy"}} {
		t.Run(name, func(t *testing.T) {
			sameOverStores(t, thanos, startVarveQuery(t, query, more, endpoints...), samples)
		})
	}
	for _, endpoint := range endpoints {
		t.Run("only "+endpoint, func(t *testing.T) {
			thanos := startThanosQuery(t, nil, endpoint)
			eventually(t, 30*time.Second, func() error {
				known, err := knownStores(thanos)
				if err == nil && len(known) == 0 {
					err = fmt.Errorf("Thanos Query knows no endpoint")
				}
				return err
			})
			ours := startVarveQuery(t, query, nil, endpoint)
			sameOverStores(t, thanos, ours, samples)
			e, err := getGet(ours, "/api/v1/query", url.Values{"query": {onlyExternal}, "time": {strconv.FormatInt(samples.to.Unix(), 10)}})
			if err != nil || !strings.Contains(string(e.Data), `"value"`) {
				t.Errorf("%s: %s, %v", onlyExternal, e.Data, err)
			}
		})
	}
	t.Run("by way of Thanos Query", func(t *testing.T) {
		middle := freeAddress(t)
		args := []string{"query", "--http-address=" + freeAddress(t), "--grpc-address=" + middle}
		for _, e := range endpoints {
			args = append(args, "--endpoint="+e)
		}
		p := start(t, "thanos-middle", peer(t, "thanos"), args...)
		p.ready(t, "http://"+strings.TrimPrefix(args[1], "--http-address=")+"/-/ready")
		ours := startVarveQuery(t, query, nil, middle)
		eventually(t, 30*time.Second, func() error {
			e, err := getGet(ours, "/api/v1/label/replica/values", nil)
			if err == nil && string(e.Data) != `["receive","sidecar","store"]` {
				err = fmt.Errorf("replicas are %s", e.Data)
			}
			return err
		})
		sameOverStores(t, thanos, ours, samples)
	})
}

// With mutual TLS on all connections, and compression asked for by both: Thanos Query
// and ours over our receiver and over Thanos'.
func TestTLSWithThanos(t *testing.T) {
	samples, query := newScrapes(), example(t, "query")
	certs := newCertificates(t)
	ours, theirs := newReceiver(t), newReceiver(t)
	ours.startVarve(t, example(t, "receive"), "ours", hashring{}, append(certs.server(), `--label=replica="ours"`)...)
	theirs.startThanos(t, "theirs", hashring{}, append(certs.server(), `--label=replica="theirs"`)...)
	for _, r := range []*receiver{ours, theirs} {
		samples.write(t, "http://"+r.write+"/api/v1/receive")
	}
	flags := append(certs.client(), "--grpc-compression=snappy")
	endpoints := []string{ours.grpc, theirs.grpc}
	thanos := startThanosQuery(t, flags, endpoints...)
	eventually(t, 30*time.Second, func() error {
		known, err := knownStores(thanos)
		if err == nil && len(known) < len(endpoints) {
			err = fmt.Errorf("Thanos Query knows %d of %d endpoints", len(known), len(endpoints))
		}
		return err
	})
	sameOverStores(t, thanos, startVarveQuery(t, query, flags, endpoints...), samples)

	// Who shows no certificate is told nothing.
	address := freeAddress(t)
	p := start(t, "stranger", query, "--http-address="+address, "--grpc-address="+freeAddress(t), "--endpoint="+ours.grpc)
	p.ready(t, "http://"+address+"/-/healthy")
	if e, err := getGet(address, "/api/v1/query", url.Values{"query": {"api_requests_total"}}); err == nil || !strings.Contains(err.Error(), ours.grpc) {
		t.Errorf("a stranger is answered %s, %v", e.Data, err)
	}
}
