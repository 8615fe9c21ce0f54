package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/config"
	"sluice/sidecar/settings"
)

// grantCmd is for the database job of the deployment on Azure, which runs it as the
// server's administrator.
func grantCmd() *cobra.Command {
	var g buffer.Grant
	c := &cobra.Command{
		Use: "grant --role ROLE", Short: "As the database's administrator, make the role that the containers sign in as",
		Long: "Makes the role if it is not there, lets an Entra identity sign in as it, gives it what\n" +
			"docs/azure.md lists and makes it the owner of what others own in the schema public.\n" +
			"With --scaler it also makes a role that may only count; its password is SCALER_PASSWORD.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			scalerPassword, err := settings.LookupSecret("SCALER_PASSWORD")
			if err != nil {
				return badConfiguration(err)
			}
			g.ScalerPassword = scalerPassword.Reveal()
			if g.Role == "" || g.Scaler != "" && g.ScalerPassword == "" {
				return badConfiguration(errors.New("--role is required, and with --scaler the variable SCALER_PASSWORD too"))
			}
			cfg, err := config.Load()
			if err != nil {
				return badConfiguration(err)
			}
			password, err := cfg.DatabasePassword()
			if err != nil {
				return badConfiguration(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			err = g.Apply(ctx, buffer.Config{URL: cfg.DatabaseURL.Reveal(), Instance: uuid.NewString(), Password: password, Log: settings.NewLogger(os.Stderr, cfg.LogLevel, cfg.LogFormat)})
			if err != nil {
				fmt.Fprintf(os.Stderr, "sidecar: %v\n", err)
				return exit(exitFailed)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s owns the tables and may do nothing else\n", g.Role)
			return nil
		},
	}
	c.Flags().StringVar(&g.Role, "role", "", "role that the containers sign in as")
	c.Flags().StringVar(&g.ObjectID, "object-id", "", "object id of the Entra identity that the role belongs to")
	c.Flags().StringVar(&g.Scaler, "scaler", "", "role that may only count waiting webhooks")
	return c
}
