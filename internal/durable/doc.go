// Package durable writes files that are whole or not there, also after a crash.
package durable
