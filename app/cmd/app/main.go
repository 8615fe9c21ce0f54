// Command app receives webhooks and runs the jobs that its hooks define.
package main

import (
	"context"
	"os"

	"sluice/app/internal/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
