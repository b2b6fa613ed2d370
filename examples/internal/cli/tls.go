package cli

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
)

// ServerTLS are the flags of a server's TLS, by the names that Thanos gives
// them: a prefix and -cert, -key, -client-ca, -min-version.
type ServerTLS struct {
	prefix                     string
	cert, key, clientCA, least string
}

// Define defines the flags.
func (s *ServerTLS) Define(flags *flag.FlagSet, prefix, what string) {
	s.prefix = "--" + prefix
	flags.StringVar(&s.cert, prefix+"-cert", "", "`file` with the certificate of "+what+", in PEM; without it there is no TLS")
	flags.StringVar(&s.key, prefix+"-key", "", "`file` with the key of the certificate")
	flags.StringVar(&s.clientCA, prefix+"-client-ca", "", "`file` with the authorities that clients' certificates must be from; without it clients need none")
	flags.StringVar(&s.least, prefix+"-min-version", "1.3", "least `version` of TLS to speak: 1.0, 1.1, 1.2 or 1.3")
}

// Config returns what the flags say, for connections that speak protocol. It is
// nil if they ask for no TLS.
func (s *ServerTLS) Config(log *slog.Logger, protocol string) (*tls.Config, error) {
	if s.prefix == "" { // no flags are defined
		return nil, nil
	}
	least, err := leastVersion(s.prefix, s.least)
	if err != nil {
		return nil, err
	}
	if s.cert == "" && s.key == "" {
		if s.clientCA != "" {
			return nil, fmt.Errorf("%[1]s-client-ca without TLS checks no client: give %[1]s-cert and %[1]s-key too, or leave it out", s.prefix)
		}
		return nil, nil
	}
	pair, err := openKeyPair(s.prefix, s.cert, s.key, log)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion: least, NextProtos: []string{protocol},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.now(), nil },
	}
	if s.clientCA != "" {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.ClientCAs, err = authorities(s.prefix+"-client-ca", s.clientCA)
	}
	return config, err
}

// ClientTLS are the flags of a client's TLS, by the names that Thanos gives
// them: a prefix and -secure, -skip-verify, -cert, -key, -ca, -min-version, and
// another for the name of the server.
type ClientTLS struct {
	prefix, nameFlag                 string
	secure, skipVerify               bool
	cert, key, ca, serverName, least string
}

// Define defines the flags.
func (c *ClientTLS) Define(flags *flag.FlagSet, prefix, nameFlag, servers string) {
	c.prefix, c.nameFlag = "--"+prefix, "--"+nameFlag
	flags.BoolVar(&c.secure, prefix+"-secure", false, "speak TLS with "+servers)
	flags.BoolVar(&c.skipVerify, prefix+"-skip-verify", false, "take any certificate from "+servers)
	flags.StringVar(&c.cert, prefix+"-cert", "", "`file` with the certificate to show to "+servers+", in PEM")
	flags.StringVar(&c.key, prefix+"-key", "", "`file` with the key of the certificate")
	flags.StringVar(&c.ca, prefix+"-ca", "", "`file` with the authorities that certificates of "+servers+" must be from; without it those of the system")
	flags.StringVar(&c.serverName, nameFlag, "", "`name` that certificates of "+servers+" must have; without it the host's")
	flags.StringVar(&c.least, prefix+"-min-version", "1.3", "least `version` of TLS to speak: 1.0, 1.1, 1.2 or 1.3")
}

// Config returns what the flags say. It is nil if they ask for no TLS.
func (c *ClientTLS) Config(log *slog.Logger) (*tls.Config, error) {
	if c.prefix == "" { // no flags are defined
		return nil, nil
	}
	least, err := leastVersion(c.prefix, c.least)
	if err != nil {
		return nil, err
	}
	if !c.secure {
		for _, f := range []struct {
			name  string
			given bool
		}{
			{c.prefix + "-skip-verify", c.skipVerify},
			{c.prefix + "-cert", c.cert != ""},
			{c.prefix + "-key", c.key != ""},
			{c.prefix + "-ca", c.ca != ""},
			{c.nameFlag, c.serverName != ""},
		} {
			if f.given {
				return nil, fmt.Errorf("%s is for TLS, which nothing asks for: give %s-secure too, or leave it out", f.name, c.prefix)
			}
		}
		return nil, nil
	}
	config := &tls.Config{MinVersion: least, ServerName: c.serverName, InsecureSkipVerify: c.skipVerify}
	if c.cert != "" || c.key != "" {
		pair, err := openKeyPair(c.prefix, c.cert, c.key, log)
		if err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.now(), nil }
	}
	if c.ca != "" {
		config.RootCAs, err = authorities(c.prefix+"-ca", c.ca)
	}
	return config, err
}

// keyPair is a certificate and its key, which are read again for each
// connection, so that they can be renewed without a restart.
type keyPair struct {
	prefix, cert, key string
	log               *slog.Logger
	last              atomic.Pointer[tls.Certificate]
}

func openKeyPair(prefix, cert, key string, log *slog.Logger) (*keyPair, error) {
	switch {
	case cert == "":
		return nil, fmt.Errorf("%[1]s-key is of no use without a certificate: give %[1]s-cert too", prefix)
	case key == "":
		return nil, fmt.Errorf("%[1]s-cert is of no use without its key: give %[1]s-key too", prefix)
	}
	p := &keyPair{prefix: prefix, cert: cert, key: key, log: log}
	return p, p.load()
}

func (p *keyPair) load() error {
	pair, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		return fmt.Errorf("%[1]s-cert %[2]s and %[1]s-key %[3]s: %[4]w; give a certificate and its key, each in PEM", p.prefix, p.cert, p.key, err)
	}
	p.last.Store(&pair)
	return nil
}

// now returns what the files hold, or what they last held that was good.
func (p *keyPair) now() *tls.Certificate {
	if err := p.load(); err != nil {
		p.log.Warn("a renewed certificate cannot be used, and the one before is", "err", err)
	}
	return p.last.Load()
}

func authorities(name, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; give a file with certificates in PEM", name, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no certificate in %s; give a file with certificates in PEM", name, file)
	}
	return pool, nil
}

var tlsVersions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

func leastVersion(prefix, text string) (uint16, error) {
	version, ok := tlsVersions[text]
	if !ok {
		return 0, fmt.Errorf("%s-min-version is %q, must be one of %s", prefix, text, strings.Join(slices.Sorted(maps.Keys(tlsVersions)), ", "))
	}
	return version, nil
}
