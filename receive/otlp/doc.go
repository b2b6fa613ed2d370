// Package otlp receives OTLP metrics over HTTP.
package otlp
