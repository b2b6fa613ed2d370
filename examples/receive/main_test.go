package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-tsdb/varve/examples/internal/clitest"
)

// program is the example while it runs.
type program struct {
	listeners
	log *bytes.Buffer
}

// start runs the example on free addresses until the test ends, which it must
// do in good order.
func start(t *testing.T, args ...string) program {
	t.Helper()
	s, err := parse(append([]string{
		"--http-address=127.0.0.1:0", "--remote-write.address=127.0.0.1:0", "--grpc-address=127.0.0.1:0", "--tsdb.path=" + t.TempDir(),
	}, args...))
	if err != nil {
		t.Fatal(err)
	}
	p := program{log: new(bytes.Buffer)}
	log := slog.New(slog.NewTextHandler(p.log, nil))
	if p.listeners, err = listen(s, log); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, s, p.listeners, log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
		if err := p.close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("it said\n%s", p.log)
		}
	})
	return p
}

// request sends a body and returns the answer.
func request(t *testing.T, client *http.Client, url, contentType string, body []byte) (status int, text string) {
	t.Helper()
	res, err := client.Post(url, contentType, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

// remoteWrite encodes one sample of now of each series.
func remoteWrite(t *testing.T, names ...string) []byte {
	t.Helper()
	var msg prompb.WriteRequest
	for _, name := range names {
		msg.Timeseries = append(msg.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: name}},
			Samples: []prompb.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}},
		})
	}
	body, err := msg.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, body)
}

// stored are the labels of the series that the query API finds.
func stored(t *testing.T, p program, selector string) string {
	t.Helper()
	res, err := http.Get(fmt.Sprintf("http://%s/api/v1/series?match[]=%s", p.http.Addr(), selector))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

const protobuf = "application/x-protobuf"

// What cannot work is refused at once, by the name of the flag, before anything
// is there on the disk.
func TestFlagsAreRefusedByName(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	limits := filepath.Join(t.TempDir(), "limits.yaml")
	if err := os.WriteFile(limits, []byte("write: {defaults: {}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ flag, value, want string }{
		{"receive.limits-config-file", limits, "defaults"},
		{"receive.limits-config-file", "/nowhere", "leave the flag out"},
		{"remote-write.server-tls-cert", "/nowhere", "give --remote-write.server-tls-key too"},
		{"remote-write.server-tls-client-ca", "/nowhere", "give --remote-write.server-tls-cert"},
		{"grpc-server-tls-cert", "/nowhere", "give --grpc-server-tls-key too"},
		{"remote-write.client-tls-ca", "/nowhere", "give --remote-write.client-tls-secure too"},
		{"remote-write.client-server-name", "a", "give --remote-write.client-tls-secure too"},
		{"receive.otlp-promote-resource-attributes", "", "leave the flag out"},
		{"receive.replication-factor", "0", "at least 1"},
		{"receive.hashrings-file", "/nowhere", "no such file"},
		{"receive.hashrings", "[]", "at least one hashring is needed"},
		{"http-address", taken.Addr().String(), "choose another"},
		{"remote-write.address", "nonsense", "choose another"},
		{"grpc-address", taken.Addr().String(), "choose another"},
		{"log.level", "loud", "debug, info, warn or error"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		// Were the flag taken, the end of ctx would end the program in good order.
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := run(ctx, []string{
			"--tsdb.path", dir, "--label=a=b", "--receive.hashrings=[{\"endpoints\":[\"a:1\"]}]", "--receive.local-endpoint=a:1",
			"--http-address=127.0.0.1:0", "--remote-write.address=127.0.0.1:0", "--grpc-address=127.0.0.1:0", "--" + c.flag + "=" + c.value,
		})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "-"+c.flag) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("--%s=%s: %v", c.flag, c.value, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("--%s=%s: the data directory was created", c.flag, c.value)
		}
	}
}

func TestLimitsOfTheFileHold(t *testing.T) {
	limits := filepath.Join(t.TempDir(), "limits.yaml")
	if err := os.WriteFile(limits, []byte("write: {default: {request: {series_limit: 1}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "--label=a=b", "--receive.limits-config-file="+limits)
	url := fmt.Sprintf("http://%s/api/v1/receive", p.writes.Addr())
	if status, text := request(t, http.DefaultClient, url, protobuf, remoteWrite(t, "one", "two")); status != http.StatusRequestEntityTooLarge || !strings.Contains(text, "request_series_limit") {
		t.Errorf("two series are answered %d: %s", status, text)
	}
	if status, text := request(t, http.DefaultClient, url, protobuf, remoteWrite(t, "one")); status != http.StatusNoContent {
		t.Errorf("one series is answered %d: %s", status, text)
	}
}

func TestOTLP(t *testing.T) {
	body := fmt.Appendf(nil, `{"resourceMetrics": [{
		"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "svc"}}, {"key": "zone", "value": {"stringValue": "z"}}]},
		"scopeMetrics": [{"metrics": [{"name": "heat", "gauge": {"dataPoints": [{"asDouble": 1, "timeUnixNano": "%d"}]}}]}]
	}]}`, time.Now().UnixNano())
	for _, path := range []string{"/api/v1/otlp/v1/metrics", "/api/v1/otlp"} {
		for _, more := range [][]string{nil, {"--receive.otlp-promote-resource-attributes=zone", "--no-receive.otlp-enable-target-info"}} {
			p := start(t, append(more, "--label=a=b")...)
			if status, text := request(t, http.DefaultClient, fmt.Sprintf("http://%s%s", p.writes.Addr(), path), "application/json", body); status != http.StatusOK {
				t.Fatalf("%s: answered %d: %s", path, status, text)
			}
			if got, want := strings.Contains(stored(t, p, "heat"), `"zone":"z"`), more != nil; got != want {
				t.Errorf("with %v: the attribute is a label: %v, want %v", more, got, want)
			}
			if got, want := strings.Contains(stored(t, p, "target_info"), `"target_info"`), more == nil; got != want {
				t.Errorf("with %v: there is a target_info: %v, want %v", more, got, want)
			}
		}
	}
}

// A router and a receiver that stores check each other, and so do a sender and
// the router. Who shows nothing is sent away.
func TestTLS(t *testing.T) {
	authority := clitest.NewAuthority(t)
	cert, key := authority.Issue(t, "receiver", 1)
	mine, mineKey := authority.Issue(t, "sender", 2)
	stores := start(t, "--label=a=b", "--grpc-server-tls-cert="+cert, "--grpc-server-tls-key="+key, "--grpc-server-tls-client-ca="+authority.File)
	hashrings := fmt.Sprintf(`--receive.hashrings=[{"endpoints": [%q]}]`, stores.grpc.Addr())
	tlsOfWrites := []string{hashrings, "--remote-write.server-tls-cert=" + cert, "--remote-write.server-tls-key=" + key, "--remote-write.server-tls-client-ca=" + authority.File}
	routes := start(t, append(tlsOfWrites, "--remote-write.client-tls-secure", "--remote-write.client-tls-ca="+authority.File,
		"--remote-write.client-tls-cert="+mine, "--remote-write.client-tls-key="+mineKey, "--remote-write.client-server-name=receiver")...)

	shown, err := tls.LoadX509KeyPair(mine, mineKey)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{shown}, InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	sender := &http.Client{Transport: transport}
	url := fmt.Sprintf("https://%s/api/v1/receive", routes.writes.Addr())
	if status, text := request(t, sender, url, protobuf, remoteWrite(t, "m")); status != http.StatusNoContent {
		t.Errorf("with certificates everywhere: %d %s", status, text)
	}
	if !strings.Contains(stored(t, stores, "m"), `"__name__":"m"`) {
		t.Error("what was acknowledged is not stored")
	}

	nobody := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	if res, err := nobody.Post(url, protobuf, bytes.NewReader(remoteWrite(t, "m"))); err == nil {
		res.Body.Close()
		t.Errorf("a sender that shows no certificate is answered %d", res.StatusCode)
	}
	for name, more := range map[string][]string{
		"without TLS":           nil,
		"without a certificate": {"--remote-write.client-tls-secure", "--remote-write.client-tls-skip-verify"},
		"to another name":       {"--remote-write.client-tls-secure", "--remote-write.client-tls-ca=" + authority.File, "--remote-write.client-tls-cert=" + mine, "--remote-write.client-tls-key=" + mineKey, "--remote-write.client-server-name=other"},
	} {
		routes := start(t, append(more, hashrings)...)
		url := fmt.Sprintf("http://%s/api/v1/receive", routes.writes.Addr())
		if status, text := request(t, http.DefaultClient, url, protobuf, remoteWrite(t, "n")); status != http.StatusServiceUnavailable {
			t.Errorf("a router %s: %d %s", name, status, text)
		}
	}
	if strings.Contains(stored(t, stores, "n"), `"__name__":"n"`) {
		t.Error("what came by connections that must not be is stored")
	}
}

// The external labels of a hashring are on the series of the tenants it names.
func TestExternalLabelsOfTheHashrings(t *testing.T) {
	p := start(t, "--label=a=b", "--receive.local-endpoint=self:1",
		`--receive.hashrings=[{"tenants": ["default-tenant"], "endpoints": ["self:1"], "external_labels": {"team": "x", "a": "c"}}]`)
	if status, text := request(t, http.DefaultClient, fmt.Sprintf("http://%s/api/v1/receive", p.writes.Addr()), protobuf, remoteWrite(t, "m")); status != http.StatusNoContent {
		t.Fatalf("answered %d %s", status, text)
	}
	if got := stored(t, p, "m"); !strings.Contains(got, `"team":"x"`) || !strings.Contains(got, `"a":"b"`) {
		t.Errorf("stored is %s", got)
	}
}
