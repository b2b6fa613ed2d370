package storeapi

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/storage"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/varve-tsdb/varve/internal/readcost"
)

// sends makes a script that answers each Series with these messages.
func sends(info string, bodies ...string) *script {
	return &script{info: info, series: func(_ *seriesRequest, stream grpc.ServerStream) error {
		for _, body := range bodies {
			if err := stream.SendMsg(encoded(body)); err != nil {
				return err
			}
		}
		return nil
	}}
}

// A message of things that take two bytes each in it, and a hundred once they are
// decoded, is refused before they are.
func TestMessagesThatUnfold(t *testing.T) {
	const size = 1 << 20
	fill := func(piece string) string { return strings.Repeat(piece, size/len(piece)) }
	wrap := func(field protowire.Number, body string) string {
		return string(appendMessage(nil, field, []byte(body)))
	}
	for name, body := range map[string]string{
		"empty series":          fill("\x0a\x00"),
		"empty series, batched": wrap(fieldBatch, fill("\x0a\x00")),
		"empty aggregates":      wrap(fieldSeries, fill("\x12\x02\x22\x00")),
		"chunks of no samples":  wrap(fieldSeries, fill("\x12\x06\x1a\x04\x12\x02\x00\x00")),
		"labels":                wrap(fieldSeries, fill("\x0a\x06\x0a\x01a\x12\x01b")),
	} {
		c := sends(someInfo, body).client(t, ClientOptions{MaxMessageBytes: size * 3 / 2})
		_, _, err := read(t.Context(), c, nil)
		var unfolds *MessageError
		if !errors.As(err, &unfolds) || !unfolds.LimitExceeded() || !strings.Contains(err.Error(), "MaxMessageBytes") {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

// What has to be sorted here counts with what is made of it.
func TestSortingCountsWhatIsMadeOfMessages(t *testing.T) {
	var bodies []string
	wire := 0
	for i := range 2000 {
		body := string(wrote(t, "SeriesResponse", one(t, fmt.Sprintf("a=%d", i))))
		bodies = append(bodies, body)
		wire += len(body)
	}
	c := sends(someInfo, bodies...).client(t, ClientOptions{MaxBufferedBytes: int64(2 * wire)})
	if _, _, err := read(t.Context(), c, nil, "r"); !errors.As(err, new(*BufferError)) {
		t.Errorf("%d bytes of messages are taken for less than %d of memory: %v", wire, 2*wire, err)
	}
}

// Messages are in the budget of the read from when they come until their series have
// gone out, and however the read ends.
func TestMessagesAreInTheBudget(t *testing.T) {
	times := make([]int64, 1000)
	for i := range times {
		times[i] = int64(i)
	}
	var frames []string
	wire := int64(0)
	for i := range 3 {
		frames = append(frames, one(t, fmt.Sprintf("a=%d", i), times...))
		wire = int64(len(wrote(t, "SeriesResponse", frames[0])))
	}
	well, broken := says(t, someInfo, frames...), says(t, someInfo, append(frames, `warning: "no"`)...)
	for name, c := range map[string]struct {
		server  *script
		limit   int64
		without bool
		read    func(set storage.ChunkSeriesSet)
		refused bool
		fails   bool
	}{
		"read":              {server: well, read: all},
		"sorted and read":   {server: well, without: true, read: all},
		"left after one":    {server: well, read: func(set storage.ChunkSeriesSet) { set.Next() }},
		"broken":            {server: broken, read: all, fails: true},
		"too much":          {server: well, limit: wire / 2, read: all, refused: true, fails: true},
		"too much made":     {server: well, limit: wire + 1000, read: all, refused: true, fails: true},
		"too much to sort":  {server: well, limit: 20 * wire, without: true, read: all, refused: true, fails: true},
		"enough for stream": {server: well, limit: 20 * wire, read: all},
	} {
		t.Run(name, func(t *testing.T) {
			budget, err := readcost.NewBudget(readcost.BudgetOptions{QueryBytes: c.limit})
			if err != nil {
				t.Fatal(err)
			}
			cost := budget.Open()
			defer cost.Close()
			q, err := querierOf(c.server.client(t, ClientOptions{}), c.without)
			if err != nil {
				t.Fatal(err)
			}
			set := q.Select(readcost.With(t.Context(), cost), true, nil, equal("missing", ""))
			most := int64(0)
			c.read(watched{set, func() { most = max(most, budget.InUse()) }})
			if err := set.Err(); (err != nil) != c.fails || readcost.IsRefusal(err) != c.refused {
				t.Errorf("it fails with %v", err)
			}
			if !c.refused && most < wire {
				t.Errorf("messages of %d bytes are counted as %d", wire, most)
			}
			if err := q.Close(); err != nil {
				t.Error(err)
			}
			if n := budget.InUse(); n != 0 {
				t.Errorf("%d bytes are still in the budget", n)
			}
		})
	}
}

// A series that has gone out takes nothing any more, also one of several messages; one
// that waits to go out in another order still does.
func TestMemoryGoesWithTheSeries(t *testing.T) {
	times := make([]int64, 1000)
	for i := range times {
		times[i] = int64(i)
	}
	frames := []string{one(t, "a=0", times...), one(t, "a=0", times...), one(t, "a=1", times...), one(t, "a=2", times...)}
	wire := int64(len(wrote(t, "SeriesResponse", frames[0])))
	for name, c := range map[string]struct {
		unsorted bool
		least    []int64 // messages in the budget with each of the series
	}{
		"as they come": {false, []int64{2, 1, 1}},
		"sorted":       {true, []int64{4, 2, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			budget, err := readcost.NewBudget(readcost.BudgetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			cost := budget.Open()
			defer cost.Close()
			client := says(t, someInfo, frames...).client(t, ClientOptions{})
			client.unsorted.Store(c.unsorted)
			q, err := client.ChunkQuerier(0, 1000)
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			set := q.Select(readcost.With(t.Context(), cost), true, nil, equal("missing", ""))
			for i, least := range c.least {
				if !set.Next() {
					t.Fatal(set.Err())
				}
				if n := budget.InUse(); n < least*wire {
					t.Errorf("series %d: %d messages of %d bytes are counted as %d", i, least, wire, n)
				}
			}
			if set.Next() || set.Err() != nil {
				t.Fatalf("another series, or %v", set.Err())
			}
			if n := budget.InUse(); n != 0 {
				t.Errorf("%d bytes are in the budget once all series have gone out", n)
			}
		})
	}
}

func querierOf(c *Client, without bool) (storage.ChunkQuerier, error) {
	if without {
		return c.ChunkQuerierWithout(0, 1000, []string{"r"})
	}
	return c.ChunkQuerier(0, 1000)
}

// watched calls look at each series.
type watched struct {
	storage.ChunkSeriesSet
	look func()
}

func (w watched) Next() bool {
	more := w.ChunkSeriesSet.Next()
	w.look()
	return more
}

func all(set storage.ChunkSeriesSet) {
	for set.Next() {
	}
}
