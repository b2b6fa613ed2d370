package cli

import (
	"errors"
	"flag"

	"github.com/varve-tsdb/varve/receive"
)

// Checked defines a flag of text that check has to find right, as the flag is
// parsed, so that the error names the flag. It returns where the text will be.
func Checked(flags *flag.FlagSet, name, value, usage string, check func(string) error) *string {
	c := &checked{text: value, check: check}
	flags.Var(c, name, usage)
	return &c.text
}

type checked struct {
	text  string
	check func(string) error
}

func (c *checked) String() string { return c.text }

// Set takes a text that is right.
func (c *checked) Set(text string) error {
	if err := c.check(text); err != nil {
		return err
	}
	c.text = text
	return nil
}

// HeaderName checks the name of an HTTP header.
func HeaderName(name string) error {
	if name == "" {
		return errors.New("it is empty: leave the flag out instead")
	}
	if (receive.HandlerOptions{TenantHeader: name}).Validate() != nil {
		return errors.New("it is not the name of a header, which has letters, digits and hyphens")
	}
	return nil
}
