package cli

import (
	"fmt"
	"net/http"
)

// Ready answers a readiness probe: 503 as long as tenants are still to be opened,
// of which opening returns how many, and 200 then.
//
// Those that are open take writes and answer reads all the while, and others are
// opened for who asks for them. But a load balancer has others to ask that make
// nobody wait, and a rolling restart must not go on to the next replica while this
// one still replays its logs. Peers of a hashring do not look here.
func Ready(opening func() int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if n := opening(); n > 0 {
			http.Error(w, fmt.Sprintf("%s still being opened; others take writes and answer reads", tenants(n)), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "OK\n")
	}
}

// ReadyWhen answers a readiness probe: 503 as long as ready returns why not.
func ReadyWhen(ready func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "OK\n")
	}
}

func tenants(n int) string {
	if n == 1 {
		return "1 tenant is"
	}
	return fmt.Sprintf("%d tenants are", n)
}
