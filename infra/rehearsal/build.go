package rehearsal

import (
	"context"
	"errors"
	"fmt"
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
	out, err := exec.CommandContext(ctx, "go", "env", "GOWORK").Output()
	if err != nil {
		return given, fmt.Errorf("find workspace: %w", err)
	}
	work := strings.TrimSpace(string(out))
	if work == "" {
		return given, errors.New("find workspace: no go.work here or above")
	}
	for name, path := range map[string]*string{
		"sidecar": &given.Sidecar, "app": &given.App, "recorder": &given.Recorder,
	} {
		if *path != "" {
			continue
		}
		*path = filepath.Join(dir, name)
		cmd := exec.CommandContext(ctx, "go", "build", "-o", *path, packages[name])
		cmd.Dir = filepath.Dir(work)
		if out, err := cmd.CombinedOutput(); err != nil {
			return given, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return given, nil
}
