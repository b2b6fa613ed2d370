package receive

import (
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/varve-tsdb/varve/internal/writepb"
)

const (
	requestMediaType = "application/x-protobuf"
	requestMessageV1 = "prometheus.WriteRequest"
	requestMessageV2 = "io.prometheus.write.v2.Request"
	requestEncoding  = "snappy"

	requestUnderstood = "this receiver understands " + requestMediaType + " (remote write 1.0), " +
		requestMediaType + ";proto=" + requestMessageV1 + " (1.0) and " +
		requestMediaType + ";proto=" + requestMessageV2 + " (2.0), each with Content-Encoding " + requestEncoding
)

// requestError is a request that ends with a status before any of its samples
// gets a verdict.
type requestError struct {
	status int
	text   string
	cause  error // for the log; nil when the text says it all
	retry  bool  // the same request may come through the next time
	limitRefusal
}

func (e *requestError) Error() string { return e.text }

func (e *requestError) Unwrap() error { return e.cause }

func refuseRequest(status int, format string, args ...any) *requestError {
	return &requestError{status: status, text: fmt.Sprintf(format, args...)}
}

// limitRefusal is which limit a request is over, if it is that.
type limitRefusal struct {
	reason Reason        // zero if it is no limit
	after  time.Duration // when to come again; zero if that is not known
	counts tallyCounts   // of the request, as far as it is known
}

// refuseByLimit refuses a whole request with the status of a limit.
func refuseByLimit(reason Reason, format string, args ...any) *requestError {
	e := refuseRequest(reason.Status(), "%s: %s", reason, fmt.Sprintf(format, args...))
	e.reason, e.retry = reason, reason.Class() == Retryable
	return e
}

// requestVersion negotiates by Content-Type and Content-Encoding, as the
// protocol asks. The header X-Prometheus-Remote-Write-Version is not looked
// at: senders and proxies get it wrong more often than the content type.
func requestVersion(header http.Header) (writepb.Version, *requestError) {
	version, err := contentVersion(header.Get("Content-Type"))
	if err != nil {
		return 0, err
	}
	encoding := strings.TrimSpace(header.Get("Content-Encoding"))
	// An absent encoding is tolerated, as by Prometheus: 1.0 knows no other.
	if encoding != "" && !strings.EqualFold(encoding, requestEncoding) {
		return version, refuseRequest(http.StatusUnsupportedMediaType, "Content-Encoding %q is not supported: %s", encoding, requestUnderstood)
	}
	return version, nil
}

func contentVersion(contentType string) (writepb.Version, *requestError) {
	if strings.TrimSpace(contentType) == "" {
		return writepb.V1, nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != requestMediaType {
		return 0, refuseRequest(http.StatusUnsupportedMediaType, "Content-Type %q is not supported: %s", contentType, requestUnderstood)
	}
	switch proto, ok := params["proto"]; {
	case !ok, proto == requestMessageV1:
		return writepb.V1, nil
	case proto == requestMessageV2:
		return writepb.V2, nil
	}
	return 0, refuseRequest(http.StatusUnsupportedMediaType, "Content-Type %q names an unknown message: %s", contentType, requestUnderstood)
}

// requestTenant returns the tenant that a request is for. A header of another
// name than the usual one is preferred, not required.
func requestTenant(header http.Header, name, fallback string) (string, *requestError) {
	tenant := ""
	for _, name := range [...]string{name, DefaultTenantHeader} {
		if values := header.Values(name); len(values) > 1 {
			// Taking either would store under one tenant what is another's.
			return "", refuseRequest(http.StatusBadRequest, "header %s names %d tenants; send it once", http.CanonicalHeaderKey(name), len(values))
		}
		if tenant = header.Get(name); tenant != "" {
			break
		}
	}
	if tenant == "" {
		tenant = fallback
	}
	if err := ValidateTenant(tenant); err != nil {
		return "", refuseRequest(http.StatusBadRequest, "header %s: %v", http.CanonicalHeaderKey(name), err)
	}
	return tenant, nil
}
