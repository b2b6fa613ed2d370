package cli

import (
	"fmt"
	"net"
)

// NotOwn refuses an endpoint that is the address this process listens on itself: it
// would ask itself for ever. Names other than localhost are not looked up.
func (e *Endpoints) NotOwn(own net.Addr) error {
	for _, address := range e.Addresses {
		if isOwn(address, own) {
			return fmt.Errorf("--endpoint %s: this process serves that itself, by --grpc-address: choose another for one of them", address)
		}
	}
	return nil
}

func isOwn(address string, own net.Addr) bool {
	host, port, err := net.SplitHostPort(address)
	listening, ok := own.(*net.TCPAddr)
	if err != nil || !ok || port != fmt.Sprint(listening.Port) {
		return false
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip := net.ParseIP(host)
	switch {
	case ip == nil:
		return false
	case ip.Equal(listening.IP), ip.IsUnspecified():
		return true
	case !listening.IP.IsUnspecified():
		return false
	case ip.IsLoopback():
		return true
	}
	addresses, _ := net.InterfaceAddrs() // not knowing is no reason to refuse
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && network.IP.Equal(ip) {
			return true
		}
	}
	return false
}
