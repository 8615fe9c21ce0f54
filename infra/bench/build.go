package bench

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// build builds the programs that were not given. With a profile the sidecar is
// always built, since a released one cannot write any.
func (s *stage) build(ctx context.Context) error {
	var flags []string
	if s.config.Profile != "" {
		s.config.Sidecar = ""
		var err error
		if flags, err = s.profiling(ctx); err != nil {
			return err
		}
	}
	for _, program := range []struct {
		name  string
		path  *string
		flags []string
	}{{"sidecar", &s.config.Sidecar, flags}, {"app", &s.config.App, nil}} {
		if *program.path != "" {
			continue
		}
		s.config.Progress("building " + program.name)
		*program.path = filepath.Join(s.dir, program.name)
		if err := buildProgram(ctx, program.name, *program.path, program.flags...); err != nil {
			return err
		}
	}
	return nil
}

func buildProgram(ctx context.Context, name, path string, flags ...string) error {
	work, err := workspace(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, flags...), "-o", path, "./"+name+"/cmd/"+name)...)
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return nil
}

func workspace(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOWORK").Output()
	if err != nil {
		return "", fmt.Errorf("find workspace: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

//go:embed profile.go.txt
var profileSource string

// profileVariable names the file for a sidecar's CPU profile.
const profileVariable = "SLUICE_BENCH_PROFILE"

// profiling returns the flags that add one file to the sidecar's main package for
// this build only: the profile is no feature of the sidecar.
func (s *stage) profiling(ctx context.Context) ([]string, error) {
	work, err := workspace(ctx)
	if err != nil {
		return nil, err
	}
	if s.config.Profile, err = filepath.Abs(s.config.Profile); err != nil {
		return nil, fmt.Errorf("find profile directory: %w", err)
	}
	if err := os.MkdirAll(s.config.Profile, 0o755); err != nil {
		return nil, fmt.Errorf("make profile directory: %w", err)
	}
	source, list := filepath.Join(s.dir, "profile.go"), filepath.Join(s.dir, "overlay.json")
	overlay, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(work, "sidecar", "cmd", "sidecar", "bench_profile.go"): source},
	})
	if err != nil {
		return nil, fmt.Errorf("write overlay: %w", err)
	}
	for path, text := range map[string][]byte{source: []byte(profileSource), list: overlay} {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return nil, fmt.Errorf("write overlay: %w", err)
		}
	}
	return []string{"-overlay=" + list}, nil
}
