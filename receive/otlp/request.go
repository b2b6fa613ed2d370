package otlp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/varve-tsdb/varve/receive"
)

const (
	protoType = "application/x-protobuf"
	jsonType  = "application/json"

	understood = "this receiver understands OTLP metrics as " + protoType + " or " + jsonType +
		", each with Content-Encoding gzip or none"
)

// requestError is a request that ends before its data points are looked at.
type requestError struct {
	status int
	text   string
}

func (e *requestError) Error() string   { return e.text }
func (e *requestError) Status() int     { return e.status }
func (e *requestError) Retryable() bool { return false }

func refuse(status int, format string, args ...any) *requestError {
	return &requestError{status, fmt.Sprintf(format, args...)}
}

// format is the form of a request, and of its answer.
type format struct {
	mediaType string
	gzip      bool
}

// requestFormat reads Content-Type, whose parameters say nothing of use, and
// Content-Encoding.
func requestFormat(header http.Header) (f format, err *requestError) {
	contentType := header.Get("Content-Type")
	media, _, bad := mime.ParseMediaType(contentType)
	if bad != nil && !errors.Is(bad, mime.ErrInvalidMediaParameter) || media != protoType && media != jsonType {
		return f, refuse(http.StatusUnsupportedMediaType, "Content-Type %q is not supported: %s", contentType, understood)
	}
	f.mediaType = media
	switch encoding := strings.TrimSpace(header.Get("Content-Encoding")); strings.ToLower(encoding) {
	case "", "identity":
	case "gzip":
		f.gzip = true
	default:
		return f, refuse(http.StatusUnsupportedMediaType, "Content-Encoding %q is not supported: %s", encoding, understood)
	}
	return f, nil
}

// decompress decodes gzip into buf, which may grow, up to limit bytes. room is
// asked before memory is taken.
func (h *Handler) decompress(body, buf []byte, limit int64, room func(size int64) receive.RequestError) ([]byte, receive.RequestError) {
	rd, _ := h.gzips.Get().(*gzip.Reader)
	if rd == nil {
		rd = new(gzip.Reader)
	}
	defer h.gzips.Put(rd)
	if err := rd.Reset(bytes.NewReader(body)); err != nil {
		return buf, refuse(http.StatusBadRequest, "the body is not gzip: %v", err)
	}
	if err := room(int64(cap(buf))); err != nil {
		return buf, err
	}
	for buf = buf[:0]; ; {
		if len(buf) == cap(buf) {
			size := max(leastDecoded, 2*cap(buf))
			if err := room(int64(size)); err != nil {
				return buf, err
			}
			buf = append(make([]byte, 0, size), buf...)
		}
		n, err := rd.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return buf, tooLarge(limit)
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, refuse(http.StatusBadRequest, "the body is not gzip, or cut short: %v", err)
		}
	}
}

// leastDecoded is the room that is made for a decompressed body at first.
const leastDecoded = 32 << 10

func tooLarge(limit int64) *requestError {
	return refuse(http.StatusRequestEntityTooLarge, "the body is more than the %d bytes, decompressed, that this receiver takes; send fewer data points a request", limit)
}

// expansion is how many times the bound of the decompressed body the decoded
// data may take.
const expansion = 4

// decode decodes a decompressed body.
func decode(f format, body []byte, limit int64) (md pmetric.Metrics, err *requestError) {
	// What the decoder cannot bear must not end the connection: the sender
	// would come again with the same.
	defer func() {
		if p := recover(); p != nil {
			err = refuse(http.StatusBadRequest, "the body is not an ExportMetricsServiceRequest: decoding it failed: %v", p)
		}
	}()
	if int64(len(body)) > limit {
		return md, tooLarge(limit)
	}
	most := int64(math.MaxInt64)
	if limit < most/expansion {
		most = expansion * limit
	}
	check, unmarshal := checkProto, pmetricotlp.ExportRequest.UnmarshalProto
	if f.mediaType == jsonType {
		check, unmarshal = checkJSON, pmetricotlp.ExportRequest.UnmarshalJSON
	}
	if bad := check(body, most); errors.Is(bad, errExpands) {
		return md, refuse(http.StatusRequestEntityTooLarge, "%v", bad)
	} else if bad != nil {
		return md, refuse(http.StatusBadRequest, "the body is not an ExportMetricsServiceRequest in %s: %v", f.mediaType, bad)
	}
	req := pmetricotlp.NewExportRequest()
	if bad := unmarshal(req, body); bad != nil {
		return md, refuse(http.StatusBadRequest, "the body is not an ExportMetricsServiceRequest in %s: %v", f.mediaType, bad)
	}
	return req.Metrics(), nil
}
