package query

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// smallBody is the size up to which compressing an answer is not worth it.
const smallBody = 1 << 10

// body is the body of a JSON answer: compressed if the client takes that and it
// is not small. Nothing is sent before the first Write or end, so that until
// then the answer may become another.
type body struct {
	w       http.ResponseWriter
	status  int
	accepts bool // gzip
	started bool
	gzip    *gzip.Writer // nil if not compressed
}

func newBody(w http.ResponseWriter, r *http.Request, status int) *body {
	return &body{w: w, status: status, accepts: acceptsGzip(r.Header.Values("Accept-Encoding"))}
}

// start sends the headers. A size of -1 is not known yet.
func (b *body) start(size int) {
	b.started = true
	header := b.w.Header()
	header.Add("Vary", "Accept-Encoding")
	header.Set("Content-Type", "application/json")
	switch {
	case b.accepts && (size < 0 || size > smallBody):
		header.Set("Content-Encoding", "gzip")
		b.gzip = gzip.NewWriter(b.w)
	case size >= 0:
		header.Set("Content-Length", strconv.Itoa(size))
	}
	b.w.WriteHeader(b.status)
}

// Write sends part of the body.
func (b *body) Write(p []byte) (int, error) {
	if !b.started {
		b.start(-1)
	}
	if b.gzip != nil {
		return b.gzip.Write(p)
	}
	return b.w.Write(p)
}

// end sends the last part.
func (b *body) end(p []byte) error {
	if !b.started {
		b.start(len(p))
	}
	_, err := b.Write(p)
	if b.gzip != nil {
		err = errors.Join(err, b.gzip.Close())
	}
	return err
}

// acceptsGzip reads the values of Accept-Encoding.
func acceptsGzip(values []string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			coding, params, _ := strings.Cut(part, ";")
			if name := strings.TrimSpace(coding); name != "gzip" && name != "*" {
				continue
			}
			q, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			if weight, err := strconv.ParseFloat(q, 64); ok && err == nil && weight == 0 {
				return false
			}
			return true
		}
	}
	return false
}
