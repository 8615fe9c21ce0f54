// Command sidecar is Sluice's proxy: it takes a replica's requests, holds webhooks
// in PostgreSQL while the app is away and replays them in order.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes beside 0.
const (
	exitFailed = 1 // something failed or was cut off
	exitUsage  = 2 // wrong arguments or settings
)

// exit carries an exit code through cobra; its message has been printed.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	root := &cobra.Command{
		Use:           programName(),
		Short:         "Holds webhooks while the app is away and replays them in order",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(serveCmd(), execCmd(), runCmd(), drainCmd(), statusCmd(), queueCmd(), breakerCmd(), migrateCmd(), grantCmd(), probeCmd(), configCmd(), versionCmd(), sendersCmd())
	// `az containerapp exec` has been seen to take a command and its arguments as
	// the name of a program (microsoft/azure-container-apps issue 1029). So the
	// images have a link /status, and under that name it shows the status.
	if filepath.Base(os.Args[0]) == "status" {
		args = append([]string{"status"}, args...)
	}
	root.SetArgs(args)
	err := root.Execute()
	var code exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(os.Stderr, "sidecar: %v\n", err)
	return exitUsage
}

// programName is what completions and help call the program: it is released as
// sluice, and is /sidecar in the images.
func programName() string {
	if filepath.Base(os.Args[0]) == "sluice" {
		return "sluice"
	}
	return "sidecar"
}

// checkOutput checks the flag --output.
func checkOutput(output string) error {
	if output != "table" && output != "json" {
		return fmt.Errorf("--output must be table or json; it is %q", output)
	}
	return nil
}

// badConfiguration prints every problem, one a line.
func badConfiguration(err error) error {
	fmt.Fprintln(os.Stderr, "sidecar: bad configuration:")
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(os.Stderr, "  %s\n", strings.TrimRight(line, "\n"))
	}
	return exit(exitUsage)
}
