package oracle

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

func sortSeries(all []seriesData) {
	slices.SortFunc(all, func(a, b seriesData) int { return labels.Compare(a.labels, b.labels) })
}

// generator makes requests, the same ones each time. It is made of choices, so
// that most requests are good and some have something wrong.
type generator struct{ *rand.Rand }

func generate(n int) []request {
	g := generator{rand.New(rand.NewPCG(11, 12))}
	out := make([]request, n)
	for i := range out {
		out[i] = g.request()
	}
	return out
}

func (g generator) oneOf(of ...string) string { return of[g.IntN(len(of))] }

// orWrong is one of the good texts, or now and then one of the wrong ones.
func (g generator) orWrong(good, wrong []string) string {
	if g.onceIn(30) {
		return g.oneOf(wrong...)
	}
	return g.oneOf(good...)
}

// onceIn is true once in n times.
func (g generator) onceIn(n int) bool { return g.IntN(n) == 0 }

func (g generator) request() request {
	form := url.Values{}
	var path string
	post := g.onceIn(3)
	switch n := g.IntN(100); {
	case n < 40:
		path = "query"
		form.Set("query", g.query())
		g.maybe(form, "time", 10, g.time)
		if form.Get("time") == "" { // now, when there is nothing
			form.Set("time", g.within())
		}
		g.evaluation(form)
	case n < 65:
		path = "query_range"
		form.Set("query", g.query())
		g.timeRange(form, 20)
		g.maybe(form, "step", 20, g.step)
		g.evaluation(form)
	case n < 75:
		path = "series"
		g.selectors(form, 10)
		g.timeRange(form, 2)
		g.maybe(form, "limit", 2, g.limit)
	case n < 83:
		path = "labels"
		g.selectors(form, 2)
		g.timeRange(form, 2)
		g.maybe(form, "limit", 2, g.limit)
	case n < 92:
		path, post = "label/"+g.oneOf("job", "instance", "__name__", "code", "le", "nothing", "label.with.dots", "U__label_2e_with_2e_dots", "U__", "a%20b", "%F0%9F%98%80", "%FF")+"/values", false
		g.selectors(form, 2)
		g.timeRange(form, 2)
		g.maybe(form, "limit", 2, g.limit)
	case n < 96:
		path = "query_exemplars"
		form.Set("query", g.oneOf("requests_total", `rate(requests_total{job="db"}[5m])`, "up", "requests_total{", "1", ""))
		g.timeRange(form, 2)
	default:
		path = "format_query"
		form.Set("query", g.query())
	}
	if post {
		return request{http.MethodPost, path, form}
	}
	return request{method: http.MethodGet, target: path + "?" + form.Encode()}
}

// maybe sets a parameter, save for once in n times.
func (g generator) maybe(form url.Values, name string, n int, make func() string) {
	if !g.onceIn(n) {
		form.Set(name, make())
	}
}

func (g generator) evaluation(form url.Values) {
	if g.onceIn(4) {
		form.Set("limit", g.limit())
	}
	if g.onceIn(8) {
		form.Set("timeout", g.orWrong([]string{"1m", "30", "10.5"}, []string{"x", "1e300", "-", "1m1m"}))
	}
	if g.onceIn(8) {
		form.Set("lookback_delta", g.orWrong([]string{"1m", "30", "90.5", "0", "10m"}, []string{"x", "1e300"}))
	}
	if g.onceIn(8) {
		form.Set("stats", g.oneOf("true", "all", "some", "1"))
	}
}

func (g generator) limit() string {
	return g.orWrong([]string{"0", "1", "2", "3", "100", "9223372036854775807"}, []string{"-1", "x", "1.5", "9999999999999999999"})
}

func (g generator) timeRange(form url.Values, missing int) {
	if g.onceIn(12) {
		g.maybe(form, "start", missing, g.time) // most often after the end, or far from it
		g.maybe(form, "end", missing, g.time)
		return
	}
	from := g.Int64N(lastTime - firstTime)
	to := from + g.Int64N(min(lastTime-firstTime-from, 30*60_000)+1)
	g.maybe(form, "start", missing, func() string { return seconds(firstTime + from) })
	g.maybe(form, "end", missing, func() string { return seconds(firstTime + to) })
}

func seconds(ms int64) string { return fmt.Sprintf("%d.%03d", ms/1000, ms%1000) }

// within is a time with samples.
func (g generator) within() string { return seconds(firstTime + g.Int64N(lastTime-firstTime)) }

func (g generator) time() string {
	if !g.onceIn(5) {
		return g.within()
	}
	return g.oneOf("2023-11-14T23:00:00Z", "2023-11-15T00:30:00.123456+01:00", "0", "-1.5", "1e9", "1700003600", "2023-11-14",
		"x", "1h", "1700000000.0004", "253402300800", "-292273086-05-16T16:47:06Z", "292277025-08-18T07:12:54.999999999Z")
}

func (g generator) step() string {
	return g.orWrong([]string{"15", "30", "60", "1m", "47s", "7.5", "300", "5m", "1h"}, []string{"0", "-1", "x", "1e300", "1ms"})
}

func (g generator) selectors(form url.Values, missing int) {
	if g.onceIn(missing) {
		return
	}
	for range 1 + g.IntN(2) {
		form.Add("match[]", g.selector())
	}
}

func (g generator) matcher() string {
	return g.orWrong([]string{
		`job="api"`, `job=~"a.*|db"`, `job!="db"`, `job!~".*i"`, `instance=~"host-[01].*"`, `instance=""`, `code="200"`, `code!=""`,
		`nothing=""`, `nothing!="x"`, `job=~".*"`, `job=~".+"`, `le="+Inf"`, `"label.with.dots"="x"`, `job="we\"ird\\ <&>\u2028 ü"`,
	}, []string{`job=~"("`, `job`, `job="a`, `=""`})
}

func (g generator) metric() string {
	return g.oneOf("up", "requests_total", "temperature", "latency_bucket", "odd", "gaps", "native", "native_float", "native_gauge", "custom", "mixed", "absent_metric")
}

func (g generator) selector() string {
	var matchers []string
	for range g.IntN(3) {
		matchers = append(matchers, g.matcher())
	}
	switch g.IntN(12) {
	case 0:
		return "{" + strings.Join(matchers, ",") + "}"
	case 1:
		return `{"utf8.metric with blanks"}`
	case 2:
		return `{__name__=~"up|requests_total|gaps"}`
	}
	if len(matchers) == 0 {
		return g.metric()
	}
	return g.metric() + "{" + strings.Join(matchers, ",") + "}"
}

func (g generator) rangeSelector() string {
	return g.selector() + g.orWrong([]string{"[1m]", "[5m]", "[30s]", "[17m]", "[1h]", "[5m] offset 3m", "[5m] @ 1700003000", "[10m:1m]", "[7m:]"}, []string{"[0]", "[1m:0s]", "[1x]", "[-1m]"})
}

// query is an expression, now and then a broken one.
func (g generator) query() string {
	q := g.expr(3)
	switch {
	case g.onceIn(40):
		at := g.IntN(len(q))
		return q[:at] + q[at+1:]
	case g.onceIn(60):
		return g.oneOf("", " ", "# only words", "up and", "sum(", `"text"`, "1", "-1.5e3", "NaN", "time()", "vector(1)", "up[5m]", "scalar(up)")
	}
	return q
}

func (g generator) expr(depth int) string {
	if depth == 0 {
		return g.selector()
	}
	inner := func() string { return g.expr(depth - 1) }
	switch g.IntN(12) {
	case 0, 1:
		return g.selector() + g.oneOf("", "", " offset 7m", " offset -1m", " @ 1700003000", " @ start()", " @ end() offset 1m")
	case 2, 3:
		return g.oneOf("rate", "increase", "irate", "delta", "idelta", "resets", "changes", "avg_over_time", "sum_over_time", "min_over_time", "max_over_time",
			"count_over_time", "last_over_time", "present_over_time", "absent_over_time", "stddev_over_time", "deriv") + "(" + g.rangeSelector() + ")"
	case 4:
		return g.orWrong([]string{"quantile_over_time(0.7, ", "quantile_over_time(7, "}, []string{"no_such_function(", "rate(1, "}) + g.rangeSelector() + ")"
	case 5, 6:
		return g.oneOf("sum", "min", "max", "count", "group", "avg") + g.oneOf("", " by (job)", " by (job, instance)", " without (instance)", " by (__name__)", " by (nothing)") + " (" + inner() + ")"
	case 7:
		if g.onceIn(6) {
			// Prometheus gives the values in a different order each time.
			return `count(count_values("value", ` + inner() + "))"
		}
		return g.oneOf("topk(2, ", "bottomk(1, ", "quantile(0.3, ", "topk(-1, ", "quantile(2, ") + inner() + ")"
	case 8:
		return g.oneOf("abs", "ceil", "floor", "exp", "ln", "sqrt", "sgn", "sort", "sort_desc", "timestamp", "absent", "scalar", "histogram_count", "histogram_sum", "histogram_avg", "day_of_week", "round", "-", "") + "(" + inner() + ")"
	case 9:
		return "histogram_quantile(" + g.oneOf("0.5", "0.9", "1.1", "NaN") + ", " + inner() + ")"
	case 10:
		return g.oneOf(`label_replace(`+inner()+`, "to", "$1-x", "instance", "(.*):.*")`, `label_join(`+inner()+`, "to", "/", "job", "code")`, `label_replace(`+inner()+`, "job", "", "", "")`)
	}
	return "(" + inner() + ") " + g.oneOf("+", "-", "*", "/", "%", "^", "==", "!= bool", ">", "<= bool", "and", "or", "unless",
		"+ on (job)", "* on (job, instance) group_left", "/ ignoring (code)", "> on () group_right (le)", "and on (job)", "atan2") + " (" + g.oneOf("2", "0", inner(), inner(), inner()) + ")"
}
