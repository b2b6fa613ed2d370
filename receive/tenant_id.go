package receive

import (
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTenantLength bounds a tenant's name in bytes. File systems take 255 for
// one name, and a tenant's name also ends up in labels, logs and metrics.
const maxTenantLength = 150

// lockName is the file in the data directory that one Tenants holds locked.
const lockName = ".varve.lock"

// reservedTenants are names that the data directory needs for something else.
var reservedTenants = [...]string{lockName, "lost+found"}

// ValidateTenant returns nil if name can be a tenant's: 1 to 150 bytes of valid
// UTF-8 without control characters, usable as the name of one directory, so
// that it cannot lead out of the data directory. Otherwise the error says what
// is wrong, and errors.Is finds ErrInvalidTenant in it.
//
// It is safe for concurrent use.
func ValidateTenant(name string) error {
	if reason := invalidTenantReason(name); reason != "" {
		return &TenantError{Tenant: name, Kind: ErrInvalidTenant, Detail: reason}
	}
	return nil
}

func invalidTenantReason(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) > maxTenantLength:
		return "it is longer than 150 bytes"
	case name == "." || name == "..":
		return "it names a directory of the file system"
	case strings.ContainsAny(name, `/\`):
		return "it contains a path separator"
	case !utf8.ValidString(name):
		return "it is not valid UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "it contains a control character"
	case !filepath.IsLocal(name):
		return "the operating system gives it a meaning of its own"
	}
	if strings.HasPrefix(name, removedPrefix) {
		return "it is reserved"
	}
	for _, reserved := range reservedTenants {
		if name == reserved {
			return "it is reserved"
		}
	}
	return ""
}
