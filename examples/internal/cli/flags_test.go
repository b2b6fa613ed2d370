package cli

import (
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

func TestLabels(t *testing.T) {
	var l Labels
	for _, text := range []string{`zone="eu 1"`, `cluster=a`} {
		if err := l.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	if want := labels.FromStrings("cluster", "a", "zone", "eu 1"); !labels.Equal(l.Labels, want) {
		t.Fatalf("got %s, want %s", l, want)
	}
	for _, text := range []string{"", "a", "=b", `a=""`, `a="b`, "cluster=b", "__name__=up", "\xff=a"} {
		if err := l.Set(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestDuration(t *testing.T) {
	var d Duration
	if err := d.Set("15d"); err != nil || time.Duration(d) != 15*24*time.Hour || d.String() != "15d" {
		t.Fatalf("15d is %v, %v", &d, err)
	}
	if err := d.Set("soon"); err == nil {
		t.Fatal("soon is no duration")
	}
}

func TestFolder(t *testing.T) {
	folder := Folder("./data")
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Var(&folder, "data-dir", "")
	err := flags.Parse([]string{"--data-dir", ""})
	if err == nil || !strings.Contains(err.Error(), "data-dir") || !strings.Contains(err.Error(), "folder") {
		t.Errorf("no folder: %v", err)
	}
	if folder.Join("heads") != "data/heads" {
		t.Errorf("by default: %s", folder.Join("heads"))
	}
	if err := flags.Parse([]string{"--data-dir", "."}); err != nil || folder.Join("heads") != "heads" {
		t.Errorf("the working directory: %v, %s", err, folder.Join("heads"))
	}
}
