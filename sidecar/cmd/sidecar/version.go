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

// build identifies a build.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"` // "" where the build does not know it
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisBuild returns what the build set, or else what Go itself recorded: `go install`
// leaves nothing more.
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
			if err := checkOutput(output); err != nil {
				return err
			}
			b := thisBuild()
			if output == "json" {
				return json.NewEncoder(c.OutOrStdout()).Encode(b)
			}
			fmt.Fprintln(c.OutOrStdout(), b.Version)
			if b.Commit != "" {
				fmt.Fprintln(c.OutOrStdout(), "commit", b.Commit)
			}
			fmt.Fprintln(c.OutOrStdout(), b.Go, b.Platform)
			return nil
		},
	}
	c.Flags().StringVar(&output, "output", "table", "table or json")
	return c
}
