package cli

import (
	"bytes"
	"crypto/tls"
	"flag"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/varve-tsdb/varve/examples/internal/clitest"
)

// tlsFlags parses flags of a server and a client.
func tlsFlags(t *testing.T, args ...string) (*ServerTLS, *ClientTLS) {
	t.Helper()
	var server ServerTLS
	var client ClientTLS
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	server.Define(flags, "server-tls", "the server")
	client.Define(flags, "client-tls", "client-server-name", "servers")
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &server, &client
}

// shake connects and returns the number of the certificate that the client sees.
func shake(t *testing.T, server, client *tls.Config) (serial int64, err error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
		done <- err
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		_ = l.Close()
		<-done
		return 0, err
	}
	defer conn.Close()
	serial = conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	return serial, <-done
}

func TestTLSChecksBothSides(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	good, other := clitest.NewAuthority(t), clitest.NewAuthority(t)
	cert, key := good.Issue(t, "server", 7)
	mine, mineKey := good.Issue(t, "client", 8)
	theirs, theirsKey := other.Issue(t, "client", 9)
	for name, c := range map[string]struct {
		args []string
		ok   bool
	}{
		"both shown and known": {[]string{"--client-tls-ca=" + good.File, "--client-tls-cert=" + mine, "--client-tls-key=" + mineKey}, true},
		"by another name":      {[]string{"--client-tls-ca=" + good.File, "--client-tls-cert=" + mine, "--client-tls-key=" + mineKey, "--client-server-name=server"}, true},
		"anyone":               {[]string{"--client-tls-skip-verify", "--client-tls-cert=" + mine, "--client-tls-key=" + mineKey}, true},
		"no client's":          {[]string{"--client-tls-ca=" + good.File}, false},
		"a stranger's":         {[]string{"--client-tls-ca=" + good.File, "--client-tls-cert=" + theirs, "--client-tls-key=" + theirsKey}, false},
		"a strange server":     {[]string{"--client-tls-ca=" + other.File, "--client-tls-cert=" + mine, "--client-tls-key=" + mineKey}, false},
		"a wrong name":         {[]string{"--client-tls-ca=" + good.File, "--client-tls-cert=" + mine, "--client-tls-key=" + mineKey, "--client-server-name=other"}, false},
	} {
		server, client := tlsFlags(t, append(c.args, "--client-tls-secure", "--server-tls-cert="+cert, "--server-tls-key="+key, "--server-tls-client-ca="+good.File)...)
		serverConfig, err := server.Config(log, "test")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		clientConfig, err := client.Config(log)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if serial, err := shake(t, serverConfig, clientConfig); (err == nil) != c.ok || c.ok && serial != 7 {
			t.Errorf("%s: certificate %d, %v", name, serial, err)
		}
	}
}

// Certificates are renewed without a restart, and a bad one in their place is
// not used.
func TestCertificatesAreRenewed(t *testing.T) {
	var logged bytes.Buffer
	authority := clitest.NewAuthority(t)
	cert, key := authority.Issue(t, "server", 1)
	server, client := tlsFlags(t, "--server-tls-cert="+cert, "--server-tls-key="+key, "--client-tls-secure", "--client-tls-ca="+authority.File)
	serverConfig, err := server.Config(slog.New(slog.NewTextHandler(&logged, nil)), "test")
	if err != nil {
		t.Fatal(err)
	}
	clientConfig, err := client.Config(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		renew func()
		want  int64
	}{
		{func() {}, 1},
		{func() { authority.Issue(t, "server", 2) }, 2},
		{func() { _ = os.Truncate(cert, 10) }, 2},
		{func() { authority.Issue(t, "server", 3) }, 3},
	} {
		step.renew()
		if serial, err := shake(t, serverConfig, clientConfig); err != nil || serial != step.want {
			t.Errorf("the server shows %d, %v; want %d", serial, err, step.want)
		}
	}
	if n := strings.Count(logged.String(), "--server-tls-cert"); n != 1 {
		t.Errorf("the bad certificate is logged %d times: %s", n, &logged)
	}
}

func TestTLSFlagsAreRefusedByName(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	authority := clitest.NewAuthority(t)
	cert, key := authority.Issue(t, "server", 1)
	_, otherKey := authority.Issue(t, "other", 2)
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--server-tls-cert=" + cert}, []string{"--server-tls-cert", "give --server-tls-key too"}},
		{[]string{"--server-tls-key=" + key}, []string{"--server-tls-key", "give --server-tls-cert too"}},
		{[]string{"--server-tls-client-ca=" + authority.File}, []string{"--server-tls-client-ca", "give --server-tls-cert and --server-tls-key too"}},
		{[]string{"--server-tls-cert=" + cert, "--server-tls-key=" + otherKey}, []string{"--server-tls-cert " + cert, "--server-tls-key " + otherKey, "does not match", "give a certificate and its key"}},
		{[]string{"--server-tls-cert=/nowhere", "--server-tls-key=" + key}, []string{"--server-tls-cert /nowhere", "no such file"}},
		{[]string{"--server-tls-cert=" + cert, "--server-tls-key=" + key, "--server-tls-client-ca=" + key}, []string{"--server-tls-client-ca", "no certificate in " + key, "give a file with certificates in PEM"}},
		{[]string{"--server-tls-cert=" + cert, "--server-tls-key=" + key, "--server-tls-client-ca=/nowhere"}, []string{"--server-tls-client-ca", "no such file"}},
		{[]string{"--server-tls-cert=" + cert, "--server-tls-key=" + key, "--server-tls-min-version=1"}, []string{"--server-tls-min-version", "1.0, 1.1, 1.2, 1.3"}},
		{[]string{"--client-tls-ca=" + authority.File}, []string{"--client-tls-ca", "give --client-tls-secure too"}},
		{[]string{"--client-server-name=a"}, []string{"--client-server-name", "give --client-tls-secure too"}},
		{[]string{"--client-tls-secure", "--client-tls-cert=" + cert}, []string{"--client-tls-cert", "give --client-tls-key too"}},
		{[]string{"--client-tls-secure", "--client-tls-ca=" + key}, []string{"--client-tls-ca", "no certificate in " + key}},
		{[]string{"--client-tls-secure", "--client-tls-min-version="}, []string{"--client-tls-min-version", "1.0, 1.1, 1.2, 1.3"}},
	} {
		server, client := tlsFlags(t, c.args...)
		_, err := server.Config(log, "test")
		if err == nil {
			_, err = client.Config(log)
		}
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v does not say %q", c.args, err, want)
			}
		}
	}
	server, client := tlsFlags(t)
	if config, err := server.Config(log, "test"); config != nil || err != nil {
		t.Errorf("a server without flags: %v, %v", config, err)
	}
	if config, err := client.Config(log); config != nil || err != nil {
		t.Errorf("a client without flags: %v, %v", config, err)
	}
}
