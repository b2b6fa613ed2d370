package cli

import (
	"net"
	"testing"
)

func TestNotOwn(t *testing.T) {
	for _, c := range []struct {
		listening, endpoint string
		own                 bool
	}{
		{"0.0.0.0:10901", "127.0.0.1:10901", true},
		{"[::]:10901", "localhost:10901", true},
		{"[::]:10901", "[::1]:10901", true},
		{"127.0.0.1:10901", "localhost:10901", true},
		{"127.0.0.1:10901", "0.0.0.0:10901", true},
		{"192.0.2.1:10901", "192.0.2.1:10901", true},
		{"0.0.0.0:10901", "127.0.0.1:10903", false},
		{"192.0.2.1:10901", "127.0.0.1:10901", false},
		{"0.0.0.0:10901", "192.0.2.1:10901", false},
		{"0.0.0.0:10901", "store:10901", false},
	} {
		address, err := net.ResolveTCPAddr("tcp", c.listening)
		if err != nil {
			t.Fatal(err)
		}
		e := Endpoints{Addresses: Strings{"127.0.0.1:1", c.endpoint}}
		if err := e.NotOwn(address); (err != nil) != c.own {
			t.Errorf("who listens on %s and asks %s: %v", c.listening, c.endpoint, err)
		}
	}
}
