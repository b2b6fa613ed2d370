package main

import (
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/store/storeapi"
)

// unasked says which endpoint has not been asked yet what it holds. One that is away
// has been, and is no reason not to ask the others: this process would be away with it.
func unasked(endpoints []*storeapi.Client) error {
	for _, e := range endpoints {
		if at, _ := e.LastSync(); at.IsZero() {
			return fmt.Errorf("%s has not been asked yet what it holds", e)
		}
	}
	return nil
}

// endpointStatus is an endpoint as the list of them shows it.
type endpointStatus struct {
	Name      string         `json:"name"`
	Component string         `json:"component"` // empty if it never said
	LastCheck time.Time      `json:"lastCheck"`
	LastError *string        `json:"lastError"` // null if it is well
	Streams   []streamStatus `json:"streams"`   // as it said last
}

type streamStatus struct {
	Labels  labels.Labels `json:"labels"`
	MinTime int64         `json:"minTime"` // ms, inclusive
	MaxTime int64         `json:"maxTime"` // ms, inclusive
}

func statusOf(endpoints []*storeapi.Client) any {
	all := []endpointStatus{}
	for _, e := range endpoints {
		one := endpointStatus{Name: e.String(), Component: e.Component(), Streams: []streamStatus{}}
		var err error
		if one.LastCheck, err = e.LastSync(); err != nil {
			text := err.Error()
			one.LastError = &text
		}
		if one.Component != "" {
			e.Streams(func(external labels.Labels, mint, maxt int64) bool {
				one.Streams = append(one.Streams, streamStatus{external, mint, maxt})
				return true
			})
		}
		all = append(all, one)
	}
	return all
}

// welcome is for who opens the address in a browser.
const welcome = `This is a querier of Varve.

  /api/v1/query?query=up   the query API of Prometheus, which Grafana can use
  /api/v1/status/stores    the endpoints, what they hold, and what is wrong with them
  /metrics                 what this process has to say about itself
  /-/ready                 for probes: 503 until each endpoint has been asked what it holds
  /-/healthy               for probes: 200 as long as the process answers
`
