package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestReady(t *testing.T) {
	for opening, want := range map[int]struct {
		status int
		text   string
	}{
		0: {http.StatusOK, "OK"},
		1: {http.StatusServiceUnavailable, "1 tenant is still being opened"},
		7: {http.StatusServiceUnavailable, "7 tenants are still being opened"},
	} {
		w := httptest.NewRecorder()
		Ready(func() int { return opening })(w, httptest.NewRequest(http.MethodGet, "/-/ready", nil))
		if w.Code != want.status || !strings.Contains(w.Body.String(), want.text) {
			t.Errorf("%d are being opened: %d %s", opening, w.Code, w.Body)
		}
	}
}
