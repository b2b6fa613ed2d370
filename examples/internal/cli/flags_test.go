package cli

import (
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/receive"
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
	for _, text := range []string{"", "a", "=b", `a=""`, `a="b`, "cluster=b", "__name__=up", "\xff=a", `tenant_id="a"`} {
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

func TestBlockDuration(t *testing.T) {
	var d BlockDuration
	if err := d.Set("1s"); err != nil || time.Duration(d) != time.Second || d.String() != "1s" {
		t.Fatalf("1s is %v, %v", &d, err)
	}
	for _, text := range []string{"0", "0s", "999ms", "soon"} {
		if err := d.Set(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// The label that the library adds is known here by name.
func TestTenantLabelIsTheLibrarys(t *testing.T) {
	if err := (receive.TenantsOptions{Labels: labels.FromStrings(tenantLabel, "a")}).Validate(); err == nil {
		t.Errorf("the library takes %s for an external label", tenantLabel)
	}
}

func TestHelpSaysWhatAFlagTakes(t *testing.T) {
	var help strings.Builder
	flags := flag.NewFlagSet("x", flag.ContinueOnError)
	flags.SetOutput(&help)
	d := BlockDuration(2 * time.Hour)
	flags.Var(&d, "span", "`duration` of it")
	header := Checked(flags, "header", "X-Tenant", "`header` with it", HeaderName)
	flags.PrintDefaults()
	for _, want := range []string{"-span duration", "(default 2h)", "-header header", "(default X-Tenant)"} {
		if !strings.Contains(help.String(), want) {
			t.Errorf("the help lacks %q: %s", want, &help)
		}
	}
	if err := flags.Parse([]string{"--header", "Y"}); err != nil || *header != "Y" {
		t.Errorf("got %q, %v", *header, err)
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
