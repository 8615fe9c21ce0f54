package cli

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"sluice/app/internal/config"
	"sluice/sidecar/settings"
)

func configCommand(stdout io.Writer) *cobra.Command {
	var output string
	var describe bool
	c := &cobra.Command{
		Use: "config", Short: "Show the settings in effect, secrets as ***, and where each came from", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if describe {
				return config.WriteDescriptions(stdout)
			}
			values, err := config.Effective()
			if printErr := settings.Print(stdout, values, output); printErr != nil {
				return errors.Join(err, printErr)
			}
			return err
		},
	}
	c.Flags().BoolVar(&describe, "describe", false, "show what every setting means, as Markdown")
	outputFlag(c, &output)
	return c
}
