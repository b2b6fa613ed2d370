package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// HandlerOptions are the settings of a Handler. The zero value serves as
// Prometheus does.
type HandlerOptions struct {
	// Prefix before /api/v1 in the paths, such as "/metrics-store". Empty for
	// none.
	Prefix string
	// PartialResponse is what a request gets that does not say: warnings about
	// sources that fail instead of an error. A request says so by
	// partial_response.
	PartialResponse bool
	// LookbackDelta for queries that ask for none. Zero is the engine's. Queries
	// that accept a resolution above 5 minutes look back an hour at least, as
	// downsampled samples may be that far apart.
	LookbackDelta time.Duration
	// AutoDownsampling lets a range query that does not say otherwise use
	// downsampled data up to a fifth of its step. A request says so by
	// max_source_resolution, a duration or auto.
	AutoDownsampling bool
	// MaxPoints per series that a range query may ask for. Default 11,000.
	MaxPoints int
	// MaxSeries is the most that any answer has: series, label names or label
	// values. What exceeds it is cut, with a warning. Zero is no limit. A
	// request may ask for fewer by limit.
	MaxSeries int
	// Parser turns on experimental parts of the query language for selectors;
	// the engine has its own.
	Parser parser.Options
	// CORSOrigin is which origins other than the server's own may read
	// answers; it has to match the whole origin. Nil lets all.
	CORSOrigin *regexp.Regexp
	// Build is what status/buildinfo says.
	Build BuildInfo
	// Status is what further endpoints below status/ say, by name: "blocks" is
	// GET /api/v1/status/blocks. The data of an answer is what the function returns
	// then, as encoding/json writes it. The functions may run side by side.
	Status map[string]func() any

	// Budget limits what requests may take that bring no Cost in their context.
	// Give the same one to the stores. Nil is one for this Handler alone, with
	// the defaults of BudgetOptions, whose metrics go to Registerer.
	Budget *Budget
	// Prices of requests and bytes of the bucket, to show in statistics, logs and
	// metrics what a query costs in money. The zero value shows nothing.
	Prices Prices
	// OnQuery is called after each request that reads series or labels, on the
	// goroutine of the request. Nil is not called.
	OnQuery func(context.Context, QueryEnd)
	// SlowQuery is from which duration on a query gets a line in the log at level
	// warn; all get one at level debug. Zero is never.
	SlowQuery time.Duration

	// Logger for panics and answers that could not be sent; nil is silent.
	Logger *slog.Logger
	// Registerer of the metrics varve_query_*; nil is fine.
	Registerer prometheus.Registerer
}

var statusName = regexp.MustCompile(`^[a-z0-9_-]+$`)

// Validate returns all problems at once.
func (o HandlerOptions) Validate() error {
	var prefix error
	if o.Prefix != "" && (!strings.HasPrefix(o.Prefix, "/") || strings.HasSuffix(o.Prefix, "/")) {
		prefix = fmt.Errorf("%s must start and not end with a slash, got %q", "Prefix", o.Prefix)
	}
	var status error
	for name := range o.Status {
		if name == "buildinfo" || !statusName.MatchString(name) {
			status = errors.Join(status, fmt.Errorf("HandlerOptions.Status must not have %q: a name is of a-z, 0-9, -, _, and not buildinfo", name))
		}
	}
	return errors.Join(prefix, status,
		notNegative("LookbackDelta", o.LookbackDelta),
		notNegative("MaxPoints", o.MaxPoints),
		notNegative("MaxSeries", o.MaxSeries),
		notNegative("SlowQuery", o.SlowQuery),
		o.Prices.Validate(),
	)
}

func (o HandlerOptions) withDefaults() HandlerOptions {
	orDefault(&o.MaxPoints, 11000)
	o.Build = o.Build.withDefaults()
	if o.CORSOrigin != nil {
		o.CORSOrigin = regexp.MustCompile("^(?:" + o.CORSOrigin.String() + ")$")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Handler is the Prometheus HTTP API over a ChunkQueryable: an http.Handler to
// mount at the root, or wherever Prefix says; it answers below /api/v1. It may
// serve requests side by side.
//
// Exemplars and metadata are there if the ChunkQueryable has them; without
// them their answers are empty.
type Handler struct {
	opts    HandlerOptions
	engine  promql.QueryEngine
	source  storage.ChunkQueryable
	samples storage.Queryable
	parser  parser.Parser
	metrics *handlerMetrics
	routes  map[string]route // by path below /api/v1/
}

// route is one endpoint.
type route struct {
	name  string // in metrics
	post  bool   // whether parameters may come as a form
	reads bool   // whether it reads series or labels
	serve func(*http.Request) (*result, error)
}

// NewHandler returns a Handler that evaluates queries with engine over source.
// It fails if an option is wrong or if its metrics are already registered.
func NewHandler(engine promql.QueryEngine, source storage.ChunkQueryable, opts HandlerOptions) (*Handler, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("query handler options: %w", err)
	}
	opts = opts.withDefaults()
	metrics, err := newHandlerMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	if opts.Budget == nil {
		if opts.Budget, err = NewBudget(BudgetOptions{Registerer: opts.Registerer}); err != nil {
			return nil, err
		}
	}
	h := &Handler{
		opts: opts, engine: engine, source: source, samples: Samples(source),
		parser: parser.NewParser(opts.Parser), metrics: metrics,
	}
	h.routes = map[string]route{
		"query":            {"query", true, true, h.query},
		"query_range":      {"query_range", true, true, h.queryRange},
		"query_exemplars":  {"query_exemplars", true, false, h.exemplars},
		"format_query":     {"format_query", true, false, h.formatQuery},
		"series":           {"series", true, true, h.series},
		"labels":           {"labels", true, true, h.labelNames},
		"metadata":         {"metadata", false, false, h.metadata},
		"status/buildinfo": {"status_buildinfo", false, false, h.buildInfo},
	}
	for name, status := range opts.Status {
		h.routes["status/"+name] = route{"status_" + name, false, false, func(*http.Request) (*result, error) {
			text, err := json.Marshal(status())
			return &result{data: json.RawMessage(text)}, err
		}}
	}
	return h, nil
}

// find returns the endpoint at an escaped path.
func (h *Handler) find(path string) (route, bool) {
	path, ok := strings.CutPrefix(path, h.opts.Prefix+"/api/v1/")
	if !ok {
		return route{}, false
	}
	if found, ok := h.routes[path]; ok {
		return found, true
	}
	name, ok := strings.CutPrefix(path, "label/")
	if !ok {
		return route{}, false
	}
	if name, ok = strings.CutSuffix(name, "/values"); !ok || strings.Contains(name, "/") {
		return route{}, false
	}
	return route{"label_values", false, true, func(r *http.Request) (*result, error) { return h.labelValues(r, name) }}, true
}

// ServeHTTP answers one request. A panic, which no request should cause, becomes an
// answer of status 500; where part of an answer is out already, ServeHTTP panics
// with http.ErrAbortHandler and nothing else, by which net/http ends the connection.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.metrics.inFlight.Inc()
	defer h.metrics.inFlight.Dec()
	began := time.Now()
	rec := &recorder{ResponseWriter: w}
	found, ok := h.find(r.URL.EscapedPath())
	if !ok {
		found.name = "unknown"
	}
	defer func() {
		if p := recover(); p != nil {
			h.panicked(rec, r, p)
		}
		h.metrics.observe(found.name, rec.code, time.Since(began))
	}()
	switch {
	case !ok && !strings.HasPrefix(r.URL.Path, h.opts.Prefix+"/api/"):
		http.NotFound(rec, r)
		return
	case r.Method == http.MethodOptions:
		h.setCORS(rec, r)
		rec.WriteHeader(http.StatusNoContent)
		return
	}
	h.setCORS(rec, r)
	if !ok {
		h.respondError(rec, r, &apiError{errorNotFound, fmt.Errorf("there is no %s here", r.URL.Path)})
		return
	}
	h.serve(rec, r, found, began)
}

func (h *Handler) serve(w *recorder, r *http.Request, found route, began time.Time) {
	switch {
	case r.Method == http.MethodGet, r.Method == http.MethodPost && found.post:
	default:
		allow := "GET, OPTIONS"
		if found.post {
			allow = "GET, POST, OPTIONS"
		}
		w.Header().Set("Allow", allow)
		h.respondError(w, r, &apiError{errorMethod, fmt.Errorf("method %s is not allowed here, only %s", r.Method, allow)})
		return
	}
	ctx, err := h.parseRequest(w, r)
	if err != nil {
		h.respondError(w, r, err)
		return
	}
	if !found.reads {
		_ = h.answer(w, r.WithContext(ctx), found)
		return
	}
	ctx, cost, end := h.account(ctx)
	defer end()
	r = r.WithContext(ctx)
	err = h.answer(w, r, found)
	h.ended(r, QueryEnd{Endpoint: found.name, Took: time.Since(began), Status: w.code, Err: err}, cost)
}

// answer sends an answer, and returns the error if it is one.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, found route) error {
	res, err := found.serve(r)
	if err != nil {
		h.respondError(w, r, err)
		return err
	}
	if res.close != nil {
		defer res.close()
	}
	h.respond(w, r, res)
	return nil
}

// panicked answers for a handler that panicked, if it still can. Otherwise it
// panics with http.ErrAbortHandler, by which net/http ends a connection: its
// server catches it and the process goes on. No input gets here by itself, but only
// a panic of what is below, such as a host's own storage.
func (h *Handler) panicked(rec *recorder, r *http.Request, p any) {
	if p == http.ErrAbortHandler {
		panic(http.ErrAbortHandler)
	}
	h.opts.Logger.ErrorContext(context.WithoutCancel(r.Context()), "query handler panicked",
		"path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	if rec.code != 0 {
		// Half an answer must not end as if it were whole.
		panic(http.ErrAbortHandler)
	}
	h.respondError(rec, r, &apiError{errorInternal, fmt.Errorf("panic: %v", p)})
}

// recorder notes the status of an answer.
type recorder struct {
	http.ResponseWriter
	code int
}

// WriteHeader notes the status.
func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

// Write notes that the status is 200 if none was set.
func (r *recorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (h *Handler) setCORS(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	header.Set("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin")
	header.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	header.Set("Access-Control-Expose-Headers", "Date")
	switch {
	case h.opts.CORSOrigin == nil:
		header.Set("Access-Control-Allow-Origin", "*")
	case h.opts.CORSOrigin.MatchString(origin):
		header.Set("Access-Control-Allow-Origin", origin)
	}
}
