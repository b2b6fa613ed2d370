package query

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What is wrong with a parameter is said in the words of the API.
func TestAPIParameterTexts(t *testing.T) {
	h := newTestHandler(t, apiModel(t), HandlerOptions{})
	for target, want := range map[string]string{
		"query?query=up&dedup=maybe":        `invalid parameter \"dedup\": \"maybe\" is neither true nor false`,
		"labels?partial_response=perhaps":   `invalid parameter \"partial_response\": \"perhaps\" is neither true nor false`,
		"labels?limit=few":                  `invalid parameter \"limit\": \"few\" is not a whole number`,
		"labels?limit=99999999999999999999": `invalid parameter \"limit\": \"99999999999999999999\" is not a whole number, or too large`,
		"series?match[]=up&limit=-1":        "limit must be non-negative",
	} {
		w := ask(h, "GET", "/api/v1/"+target)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) || strings.Contains(w.Body.String(), "strconv") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

// A compressed form is refused for what it is, not for what its bytes look like.
func TestAPIEncodedForm(t *testing.T) {
	h := newTestHandler(t, apiModel(t), HandlerOptions{})
	for coding, code := range map[string]int{"gzip": 415, "identity": 200, "": 200} {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/query", strings.NewReader("query=1"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Content-Encoding", coding)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != code || code == 415 && !strings.Contains(w.Body.String(), `encoded as \"gzip\"`) {
			t.Errorf("%q: %d %s", coding, w.Code, w.Body)
		}
	}
}
