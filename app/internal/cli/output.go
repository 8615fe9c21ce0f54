package cli

import (
	"encoding/json"
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
			return fmt.Errorf("--output must be table or json, is %q", *output)
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

// needSubcommand is the action of a command that only has subcommands.
func needSubcommand(c *cobra.Command, _ []string) error {
	return fmt.Errorf("%[1]s needs a subcommand; see app %[1]s --help", c.Name())
}
