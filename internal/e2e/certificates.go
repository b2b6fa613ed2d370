package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// certificates are files in PEM of an authority, and of one certificate from it for
// both servers and clients on the loopback.
type certificates struct{ authority, cert, key string }

func newCertificates(t *testing.T) certificates {
	t.Helper()
	issue := func(of, by *x509.Certificate, signer *ecdsa.PrivateKey) (cert *x509.Certificate, key *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if by == nil {
			by, signer = of, key
		}
		raw, err := x509.CreateCertificate(rand.Reader, of, by, &key.PublicKey, signer)
		if err == nil {
			cert, err = x509.ParseCertificate(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	from, until := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	ca, caKey := issue(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "e2e"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	leaf, key := issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "loopback"}, NotBefore: from, NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca, caKey)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, kind string, raw []byte) string {
		return writeFile(t, name, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})))
	}
	return certificates{
		file("ca.pem", "CERTIFICATE", ca.Raw), file("cert.pem", "CERTIFICATE", leaf.Raw), file("key.pem", "EC PRIVATE KEY", der),
	}
}

// server and client are the flags for mutual TLS, ours and Thanos' alike.
func (c certificates) server() []string {
	return []string{"--grpc-server-tls-cert=" + c.cert, "--grpc-server-tls-key=" + c.key, "--grpc-server-tls-client-ca=" + c.authority}
}

func (c certificates) client() []string {
	return []string{"--grpc-client-tls-secure", "--grpc-client-tls-cert=" + c.cert, "--grpc-client-tls-key=" + c.key, "--grpc-client-tls-ca=" + c.authority}
}
