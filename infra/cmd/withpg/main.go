// Command withpg starts a throwaway PostgreSQL server, runs a command with the
// server's URL in DATABASE_URL and SLUICE_TEST_DATABASE_URL, and stops the server
// when the command ends. Its exit code is the command's.
//
//	withpg COMMAND [ARGUMENT...]
//	withpg -find
//
// With -find it runs nothing. It prints the directory of an installed server's
// binaries and exits 0, or exits 1 when there is none.
//
// When DATABASE_URL is already set, it only runs the command.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"sluice/infra/postgres"
)

const stopLimit = 30 * time.Second

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpg:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	switch {
	case len(args) == 0:
		return 2, errors.New("usage: withpg COMMAND [ARGUMENT...] | -find")
	case args[0] == "-find":
		bin := postgres.Installed()
		if bin == "" {
			return 1, nil
		}
		fmt.Println(bin)
		return 0, nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	url := os.Getenv("DATABASE_URL")
	if url == "" {
		server, err := postgres.Start(ctx, postgres.Options{
			Progress:       os.Stderr,
			MaxConnections: 500, // for the tests of several packages at a time
		})
		if err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, server.Close()) }()
		url = server.URL
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "DATABASE_URL="+url, postgres.TestURLVar+"="+url)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopLimit
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return 1, fmt.Errorf("run command: %w", err)
	}
	if code = cmd.ProcessState.ExitCode(); code < 0 { // a signal ended it
		return 1, nil
	}
	return code, nil
}
