package main

import "fmt"

// announce tells a newcomer what to do next.
func announce(address, dataDir string) {
	fmt.Printf(`Varve keeps its data in %[2]s and listens on http://%[1]s

Ask it something:

  curl -s 'http://%[1]s/api/v1/query?query=up'

Let a Prometheus send to it, in prometheus.yml:

  remote_write:
    - url: http://%[1]s/api/v1/write

or a program with an OpenTelemetry SDK:

  OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://%[1]s/api/v1/otlp/v1/metrics

`, address, dataDir)
}

// welcome is for who opens the address in a browser.
const welcome = `This is Varve, long-term storage for Prometheus.

  /api/v1/query?query=up   the query API of Prometheus, which Grafana can use
  /api/v1/write            takes remote write, also as /api/v1/receive
  /api/v1/otlp/v1/metrics  takes OTLP metrics, in protobuf or JSON
  /metrics                 what this process has to say about itself
  /-/ready                 for probes: 503 while tenants are still being opened
  /-/healthy               for probes: 200 as long as the process answers
`
