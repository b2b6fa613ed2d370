package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// Parse parses the arguments of a program that takes nothing but flags. For --help it
// prints them and returns flag.ErrHelp. What is wrong is the error's to say, and not
// followed by the help of all flags, which would hide it.
func Parse(flags *flag.FlagSet, args []string) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(os.Stdout)
		flags.Usage()
		return err
	case err != nil:
		return fmt.Errorf("%w; --help lists the flags", err)
	case flags.NArg() > 0:
		return fmt.Errorf("unknown argument %q; flags start with --, and --help lists them", flags.Arg(0))
	}
	return nil
}
