package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packages of the programs, as paths within the workspace.
var packages = map[string]string{
	"sidecar":  "./sidecar/cmd/sidecar",
	"app":      "./app/cmd/app",
	"recorder": "./infra/cmd/recorder",
}

// Build builds the programs that are not given yet into dir, from the
// workspace that the working directory lies in.
func Build(ctx context.Context, dir string, given Programs) (Programs, error) {
	if given.Sidecar != "" && given.App != "" && given.Recorder != "" {
		return given, nil
	}
	work, err := workspace(ctx)
	if err != nil {
		return given, err
	}
	for name, path := range map[string]*string{
		"sidecar": &given.Sidecar, "app": &given.App, "recorder": &given.Recorder,
	} {
		if *path != "" {
			continue
		}
		*path = filepath.Join(dir, name)
		if err := run(ctx, work, "go", "build", "-o", *path, packages[name]); err != nil {
			return given, fmt.Errorf("build %s: %w", name, err)
		}
	}
	return given, nil
}

// BuildSidecar builds the workspace's sidecar to path.
func BuildSidecar(ctx context.Context, path string) error {
	work, err := workspace(ctx)
	if err != nil {
		return err
	}
	if err := run(ctx, work, "go", "build", "-o", path, packages["sidecar"]); err != nil {
		return fmt.Errorf("build sidecar: %w", err)
	}
	return nil
}

// BuildOldSidecar builds the sidecar of a git reference to path. The source is
// extracted into a directory in dir, so that the working tree does not change.
func BuildOldSidecar(ctx context.Context, reference, dir, path string) error {
	work, err := workspace(ctx)
	if err != nil {
		return err
	}
	source, archive := filepath.Join(dir, "old"), filepath.Join(dir, "old.tar")
	if err := os.Mkdir(source, 0o755); err != nil {
		return fmt.Errorf("make directory for source: %w", err)
	}
	for _, step := range []struct {
		dir     string
		command []string
	}{
		{work, []string{"git", "archive", "--output", archive, reference}},
		{source, []string{"tar", "-xf", archive}},
		{source, []string{"go", "build", "-o", path, packages["sidecar"]}},
	} {
		if err := run(ctx, step.dir, step.command...); err != nil {
			return fmt.Errorf("build sidecar of %s: %w", reference, err)
		}
	}
	return nil
}

// workspace returns the directory of the workspace that the working directory
// lies in.
func workspace(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOWORK").Output()
	if err != nil {
		return "", fmt.Errorf("find workspace: %w", err)
	}
	work := strings.TrimSpace(string(out))
	if work == "" {
		return "", errors.New("find workspace: no go.work here or above")
	}
	return filepath.Dir(work), nil
}

func run(ctx context.Context, dir string, command ...string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", command[0], err, out)
	}
	return nil
}
