package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// outputFlag adds --output, "table" or "json".
func outputFlag(c *cobra.Command, output *string) {
	c.Flags().StringVarP(output, "output", "o", "table", "table or json")
	before := c.PreRunE
	c.PreRunE = func(cmd *cobra.Command, args []string) error {
		if *output != "table" && *output != "json" {
			return fmt.Errorf("--output is %q, not table or json", *output)
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// needVerb is what a command without work of its own does.
func needVerb(c *cobra.Command, _ []string) error {
	return errors.New("what about " + c.Name() + "? see: app " + c.Name() + " --help")
}
