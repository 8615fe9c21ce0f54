package main

import (
	"errors"

	"github.com/spf13/cobra"

	"sluice/sidecar/internal/config"
	"sluice/sidecar/settings"
)

func configCmd() *cobra.Command {
	var output string
	var describe bool
	c := &cobra.Command{
		Use: "config", Short: "Show the settings in effect, secrets as ***, and where each came from", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if describe {
				return config.WriteDescriptions(c.OutOrStdout())
			}
			values, err := config.Effective()
			if printErr := settings.Print(c.OutOrStdout(), values, output); printErr != nil {
				return errors.Join(err, printErr)
			}
			if err != nil {
				return badConfiguration(err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&output, "output", "table", "table or json")
	c.Flags().BoolVar(&describe, "describe", false, "show what every setting means, as Markdown")
	return c
}
