package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// receiver is a member of a hashring.
type receiver struct {
	grpc, write, http string // addresses
	dataDir           string
	*process
}

// hashring is what the members of one are started with. The zero value is none,
// for receivers that only store.
type hashring struct {
	flag     string // what it is read from
	replicas int
}

// newHashring returns a hashring of some receivers in JSON, on the command line
// or in a file. With ketama each is in a zone of its own; Thanos takes none with
// hashmod.
func newHashring(t *testing.T, algorithm string, replicas int, inFile bool, members ...*receiver) hashring {
	t.Helper()
	config := hashringJSON(t, algorithm, members...)
	ring := hashring{flag: "--receive.hashrings=" + config, replicas: replicas}
	if inFile {
		ring.flag = "--receive.hashrings-file=" + writeFile(t, "hashrings.json", config)
	}
	return ring
}

func hashringJSON(t *testing.T, algorithm string, members ...*receiver) string {
	t.Helper()
	endpoints := []map[string]string{}
	for i, m := range members {
		e := map[string]string{"address": m.grpc}
		if algorithm == "ketama" {
			e["az"] = fmt.Sprintf("zone-%d", i)
		}
		endpoints = append(endpoints, e)
	}
	config, err := json.Marshal([]map[string]any{{"hashring": "e2e", "algorithm": algorithm, "endpoints": endpoints}})
	if err != nil {
		t.Fatal(err)
	}
	return string(config)
}

// newReceiver reserves the addresses of a receiver that is yet to be started.
func newReceiver(t *testing.T) *receiver {
	t.Helper()
	return &receiver{grpc: freeAddress(t), write: freeAddress(t), http: freeAddress(t), dataDir: t.TempDir()}
}

// flags are those that Varve's receiver and Thanos' have in common.
func (r *receiver) flags(name string, ring hashring) []string {
	flags := []string{
		"--grpc-address=" + r.grpc, "--remote-write.address=" + r.write, "--http-address=" + r.http,
		"--tsdb.path=" + r.dataDir, "--label=receive_replica=" + fmt.Sprintf("%q", name), "--log.level=debug",
	}
	if ring.flag != "" {
		flags = append(flags, ring.flag, "--receive.replication-factor="+fmt.Sprint(ring.replicas))
	}
	return flags
}

// startVarve starts Varve's example. With more of --receive.local-endpoint it is
// a member of the hashring, without it a router.
func (r *receiver) startVarve(t *testing.T, binary, name string, ring hashring, more ...string) {
	t.Helper()
	r.process = start(t, name, binary, append(r.flags(name, ring), more...)...)
	r.ready(t, "http://"+r.http+"/-/ready")
}

// startThanos starts a Thanos Receive; see startVarve.
func (r *receiver) startThanos(t *testing.T, name string, ring hashring, more ...string) {
	t.Helper()
	args := append([]string{"receive", "--receive.capnproto-address=" + freeAddress(t)}, r.flags(name, ring)...)
	r.process = start(t, name, peer(t, "thanos"), append(args, more...)...)
	r.ready(t, "http://"+r.http+"/-/ready")
}

// local makes a receiver a member of its hashring.
func (r *receiver) local() string { return "--receive.local-endpoint=" + r.grpc }

// send writes series and returns the status and the text of the answer.
func (r *receiver) send(t *testing.T, series []prompb.TimeSeries) (int, string) {
	t.Helper()
	status, text, err := r.post(t.Context(), series)
	if err != nil {
		t.Fatal(err)
	}
	return status, text
}

// post writes series by remote write 1.0.
func (r *receiver) post(ctx context.Context, series []prompb.TimeSeries) (status int, text string, err error) {
	body, err := (&prompb.WriteRequest{Timeseries: series}).Marshal()
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.write+"/api/v1/receive", bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, string(answer), err
}

// mustSend writes series until they are taken: receivers that have just started
// do not reach each other at once.
func (r *receiver) mustSend(t *testing.T, series []prompb.TimeSeries) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		if status, text := r.send(t, series); status/100 != 2 {
			return fmt.Errorf("%s answers %d: %s", r.name, status, text)
		}
		return nil
	})
}

// stored is what a receiver that has ended has of a tenant; see onDisk.
func (r *receiver) stored(t *testing.T, tenant string) map[string][]string {
	t.Helper()
	found, err := r.onDisk(t, tenant)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// onDisk is what a receiver has on its disk of a tenant, blocks and log, as
// Prometheus' TSDB reads it: samples by series, as text. If the receiver runs, an
// error may mean no more than that it is writing.
func (r *receiver) onDisk(t *testing.T, tenant string) (found map[string][]string, err error) {
	t.Helper()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", r.name, err)
		}
	}()
	db, err := tsdb.OpenDBReadOnly(filepath.Join(r.dataDir, tenant), t.TempDir(), nil)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	q, err := db.Querier(0, 1<<62)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	found = map[string][]string{}
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, "ring_.*"))
	for set.Next() {
		s := set.At()
		it := s.Iterator(nil)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			found[s.Labels().String()] = append(found[s.Labels().String()], sampleText(it, kind))
		}
		if err := it.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Labels(), err)
		}
	}
	return found, set.Err()
}

func sampleText(it chunkenc.Iterator, kind chunkenc.ValueType) string {
	if kind == chunkenc.ValFloat {
		at, v := it.At()
		return fmt.Sprintf("%v@%d", v, at)
	}
	at, h := it.AtFloatHistogram(nil)
	return fmt.Sprintf("count %v sum %v@%d", h.Count, h.Sum, at)
}
