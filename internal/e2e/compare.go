package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// answer is what a query API says, with the labels that only the long way
// round adds taken off.
type answer struct {
	ResultType string
	Series     map[string]series
}

type series struct {
	values     map[string]string // timestamp → value
	histograms map[string]string // timestamp → histogram as JSON
}

// added are the labels that Varve adds to what a sender sent.
func added(name string) bool {
	return name == "from" || name == "tenant_id" || name == "varve_replica"
}

type envelope struct {
	Status    string
	Error     string
	ErrorType string
	Warnings  []string
	Data      json.RawMessage
}

func get(address, path string, params url.Values) (envelope, error) {
	var e envelope
	res, err := http.PostForm("http://"+address+path, params)
	if err != nil {
		return e, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
		return e, fmt.Errorf("%s%s: %s: %w", address, path, res.Status, err)
	}
	if e.Status != "success" {
		return e, fmt.Errorf("%s%s: %s: %s: %s", address, path, res.Status, e.ErrorType, e.Error)
	}
	return e, nil
}

// queryRange asks for [from, to] at a step of a second.
func queryRange(t *testing.T, address, query string, from, to time.Time) answer {
	t.Helper()
	e, err := get(address, "/api/v1/query_range", url.Values{
		"query": {query}, "step": {"1"},
		"start": {strconv.FormatInt(from.Unix(), 10)}, "end": {strconv.FormatInt(to.Unix(), 10)},
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return parse(t, e)
}

func parse(t *testing.T, e envelope) answer {
	t.Helper()
	return parseNamed(t, e, labelsText)
}

// parseNamed reads an answer whose series get their names from named.
func parseNamed(t *testing.T, e envelope, named func(metric map[string]string) string) answer {
	t.Helper()
	var data struct {
		ResultType string
		Result     []struct {
			Metric     map[string]string
			Values     [][2]json.RawMessage
			Histograms [][2]json.RawMessage
		}
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	a := answer{ResultType: data.ResultType, Series: map[string]series{}}
	for _, r := range data.Result {
		s := series{values: map[string]string{}, histograms: map[string]string{}}
		for _, v := range r.Values {
			s.values[string(v[0])] = strings.Trim(string(v[1]), `"`)
		}
		for _, h := range r.Histograms {
			s.histograms[string(h[0])] = string(h[1])
		}
		name := named(r.Metric)
		if _, twice := a.Series[name]; twice {
			t.Fatalf("the answer has %s twice", name)
		}
		a.Series[name] = s
	}
	return a
}

func labelsText(metric map[string]string) string {
	var pairs []string
	for name, value := range metric {
		if !added(name) {
			pairs = append(pairs, fmt.Sprintf("%s=%q", name, value))
		}
	}
	sort.Strings(pairs)
	return "{" + strings.Join(pairs, ", ") + "}"
}

// diff tells where two answers differ, or is empty. Float values may differ in
// the last bits, because sums depend on the order of series.
func diff(want, got answer) string {
	if want.ResultType != got.ResultType {
		return fmt.Sprintf("type %s, want %s", got.ResultType, want.ResultType)
	}
	var out []string
	for name, w := range want.Series {
		g, ok := got.Series[name]
		if !ok {
			out = append(out, "missing "+name)
			continue
		}
		out = append(out, diffPoints(name, w.values, g.values)...)
		out = append(out, diffPoints(name, w.histograms, g.histograms)...)
	}
	for name := range got.Series {
		if _, ok := want.Series[name]; !ok {
			out = append(out, "unexpected "+name)
		}
	}
	sort.Strings(out)
	if len(out) > 10 {
		out = append(out[:10], fmt.Sprintf("and %d more", len(out)-10))
	}
	return strings.Join(out, "\n")
}

func diffPoints(name string, want, got map[string]string) (out []string) {
	for ts, w := range want {
		if g, ok := got[ts]; !ok {
			out = append(out, fmt.Sprintf("%s at %s: missing, want %s", name, ts, w))
		} else if !same(w, g) {
			out = append(out, fmt.Sprintf("%s at %s: %s, want %s", name, ts, g, w))
		}
	}
	for ts, g := range got {
		if _, ok := want[ts]; !ok {
			out = append(out, fmt.Sprintf("%s at %s: %s, want nothing", name, ts, g))
		}
	}
	return out
}

// number is one in the JSON of a histogram.
var number = regexp.MustCompile(`"[^"]+"`)

func same(a, b string) bool {
	if a == b {
		return true
	}
	if strings.HasPrefix(a, "{") && strings.HasPrefix(b, "{") {
		x, y := number.FindAllString(a, -1), number.FindAllString(b, -1)
		return slices.EqualFunc(x, y, func(x, y string) bool { return same(strings.Trim(x, `"`), strings.Trim(y, `"`)) })
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && math.Abs(x-y) <= 1e-12*math.Max(math.Abs(x), math.Abs(y))
}

func (a answer) points() (n int) {
	for _, s := range a.Series {
		n += len(s.values) + len(s.histograms)
	}
	return n
}
