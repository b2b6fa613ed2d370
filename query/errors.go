package query

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/refusal"
)

// errSourceTimeout is the cause of ending a source that took too long.
var errSourceTimeout = errors.New("source took too long")

// SourceError is the failure of one source of a Fanout. In a strict read it is
// the error; in a partial read it is a warning, and the answer lacks what
// Missing names.
type SourceError struct {
	// Source is what the source's String method says, or its type and place.
	Source string
	// Missing names the streams of the source that the read asked for and the
	// time of each that was asked for; less if Err tells that it concerns only
	// a part of the source. Empty if the source cannot tell its streams.
	Missing []MissingStream
	// Err is why it failed.
	Err error

	told bool // Missing is from Err, whose text says so
}

// MissingStream is a stream that an answer lacks.
type MissingStream struct {
	// External labels of the stream.
	External labels.Labels
	// From and To bound what is missing, both inclusive.
	From, To time.Time
}

// Error names the source, what is missing and why.
func (e *SourceError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "source %s: %s", e.Source, e.Err)
	if e.told {
		return b.String()
	}
	const most = 5
	for i, m := range e.Missing {
		switch {
		case i == 0:
			b.WriteString("; missing ")
		case i == most:
			fmt.Fprintf(&b, " and %d more streams", len(e.Missing)-most)
			return b.String()
		default:
			b.WriteString(", ")
		}
		b.WriteString(m.String())
	}
	return b.String()
}

// Unwrap returns why the source failed.
func (e *SourceError) Unwrap() error { return e.Err }

// String shows the stream and its range.
func (m MissingStream) String() string {
	return fmt.Sprintf("%s from %s to %s", m.External, showTime(m.From), showTime(m.To))
}

func showTime(t time.Time) string {
	switch year := t.UTC().Year(); {
	case year < 1:
		return "the beginning"
	case year > 9999:
		return "now"
	default:
		return t.UTC().Format("2006-01-02T15:04:05.999Z07:00")
	}
}

// misser is what an error has that concerns only a part of its source: one call
// for each set of external labels of which something is missing, with the
// inclusive range in milliseconds.
type misser interface {
	error
	Missing(yield func(external labels.Labels, mint, maxt int64) bool)
}

// missingOf returns what an error says is missing, or nil.
func missingOf(err error) (told []stream) {
	m, ok := errors.AsType[misser](err)
	if !ok {
		return nil
	}
	m.Missing(func(external labels.Labels, mint, maxt int64) bool {
		told = append(told, stream{external: external, mint: mint, maxt: maxt})
		return true
	})
	return told
}

// isRefusal tells whether err is about the read rather than about a source: a
// limit of the read's own Budget. Such an error is never a warning, since what it
// would leave out was not missing but refused. A limit that some other process
// has is a failure of that source.
func isRefusal(err error) bool { return readcost.IsRefusal(err) }

// refusalOf returns what err says of itself, and when a busy source may answer.
func refusalOf(err error) (kind refusal.Kind, retryAfter time.Duration) {
	if s, ok := errors.AsType[promql.ErrStorage](err); ok && s.Err != nil {
		err = s.Err // it has no Unwrap
	}
	return refusal.Of(err)
}

func isBusy(err error) bool {
	kind, _ := refusalOf(err)
	return kind == refusal.Busy
}
