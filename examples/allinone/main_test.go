package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What cannot work is refused at once, by the name of the flag, before anything
// is there on the disk.
func TestFlagsAreRefusedByName(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct{ flag, value, want string }{
		{"tsdb.min-block-duration", "0s", "shorter than 1s"},
		{"tsdb.min-block-duration", "1ms", "shorter than 1s"},
		{"tsdb.min-block-duration", "soon", "not a valid duration"},
		{"label", `tenant_id="a"`, "tenant's name"},
		{"receive.default-tenant-id", "../x", "path separator"},
		{"receive.default-tenant-id", "", "empty"},
		{"receive.tenant-header", "bad header", "not the name of a header"},
		{"receive.tenant-header", "", "empty"},
		{"query.replica-label", "", "empty"},
		{"query.max-concurrent", "-1", "whole number"},
		{"query.max-bytes", "3GiB", "no query could ever use it"},
		{"query.max-total-bytes", "lots", "not a size"},
		{"objstore.price-per-gigabyte", "-1", "not an amount"},
		{"http-address", taken.Addr().String(), "choose another"},
		{"http-address", "nonsense", "choose another"},
		{"grpc-address", taken.Addr().String(), "choose another"},
		{"grpc-server-tls-cert", "nowhere", "give --grpc-server-tls-key too"},
		{"log.level", "loud", "debug, info, warn or error"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		// Were the flag taken, the end of ctx would end the program in good order.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := run(ctx, []string{"--data-dir", dir, "--http-address", "127.0.0.1:0", "--grpc-address", "127.0.0.1:0", "--" + c.flag + "=" + c.value})
		if err == nil || !strings.Contains(err.Error(), "-"+c.flag) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("--%s=%s: %v", c.flag, c.value, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("--%s=%s: the data directory was created", c.flag, c.value)
		}
	}
}
