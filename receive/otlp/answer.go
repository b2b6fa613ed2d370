package otlp

import (
	"encoding/json"
	"net/http"

	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/protobuf/encoding/protowire"
)

// The codes of google.rpc.Code that answers carry.
const (
	codeInvalidArgument   = 3
	codeResourceExhausted = 8
	codeInternal          = 13
	codeUnavailable       = 14
)

func rpcCode(status int) int {
	switch {
	case status == http.StatusServiceUnavailable:
		return codeUnavailable
	case status == http.StatusTooManyRequests:
		return codeResourceExhausted
	case status >= http.StatusInternalServerError:
		return codeInternal
	}
	return codeInvalidArgument
}

// writeStored answers that what can be stored is. Of the data points rejected
// are not, for which text is the reason; both may be empty.
func writeStored(w http.ResponseWriter, mediaType string, rejected int, text string) {
	if rejected == 0 && text == "" {
		// partial_success must be left out, which the marshallers do not.
		var empty []byte
		if mediaType == jsonType {
			empty = []byte("{}")
		}
		writeBody(w, mediaType, http.StatusOK, empty)
		return
	}
	resp := pmetricotlp.NewExportResponse()
	resp.PartialSuccess().SetRejectedDataPoints(int64(rejected))
	resp.PartialSuccess().SetErrorMessage(text)
	marshal := resp.MarshalProto
	if mediaType == jsonType {
		marshal = resp.MarshalJSON
	}
	body, err := marshal()
	if err != nil {
		// The data is stored; an empty answer says so too.
		body = nil
	}
	writeBody(w, mediaType, http.StatusOK, body)
}

// writeStatus answers with a google.rpc.Status, in the form of the request, or
// as text if that is not known.
func writeStatus(w http.ResponseWriter, mediaType string, status int, text string) {
	var body []byte
	switch mediaType {
	case protoType:
		const fieldCode, fieldMessage = 1, 2
		body = protowire.AppendTag(body, fieldCode, protowire.VarintType)
		body = protowire.AppendVarint(body, uint64(rpcCode(status)))
		body = protowire.AppendTag(body, fieldMessage, protowire.BytesType)
		body = protowire.AppendString(body, text)
	case jsonType:
		// A struct of a number and a text cannot fail.
		body, _ = json.Marshal(struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}{rpcCode(status), text})
	default:
		http.Error(w, text, status)
		return
	}
	writeBody(w, mediaType, status, body)
}

func writeBody(w http.ResponseWriter, mediaType string, status int, body []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	// The sender is gone if this fails, and there is nobody else to tell.
	_, _ = w.Write(body)
}
