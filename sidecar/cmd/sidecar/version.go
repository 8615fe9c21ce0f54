package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version and commit are set by the build: -ldflags "-X main.version=... -X
// main.commit=...".
var (
	version = "dev"
	commit  = ""
)

// build says which build this is.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"` // "" where the build does not know it
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisBuild returns what the build set, or what Go itself recorded, which is all
// that `go install` leaves.
func thisBuild() build {
	b := build{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if recorded := info.Main.Version; b.Version == "dev" && recorded != "" && recorded != "(devel)" {
		b.Version = recorded
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && b.Commit == "" {
			b.Commit = s.Value
		}
	}
	return b
}

func versionCmd() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "version", Short: "Print the version, the commit and what it was built with", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b := thisBuild()
			switch output {
			case "json":
				return json.NewEncoder(c.OutOrStdout()).Encode(b)
			case "table":
				fmt.Fprintln(c.OutOrStdout(), b.Version)
				if b.Commit != "" {
					fmt.Fprintln(c.OutOrStdout(), "commit", b.Commit)
				}
				fmt.Fprintln(c.OutOrStdout(), b.Go, b.Platform)
				return nil
			}
			return fmt.Errorf("--output must be table or json; it is %q", output)
		},
	}
	c.Flags().StringVar(&output, "output", "table", "table or json")
	return c
}
