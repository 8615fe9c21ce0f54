package azure

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const version = "0.0.0-test"

// The base images of these builds, in place of the pinned ones.
const (
	goImage   = "localhost/go:test"
	baseImage = "localhost/base:test"
)

// builder is a buildah with storage of its own. The base images are made here
// and given as build arguments, so no registry is asked.
type builder struct {
	t       *testing.T
	storage []string
}

func newBuilder(t *testing.T) *builder {
	t.Helper()
	if testing.Short() {
		t.Skip("images are not built with -short")
	}
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Skip("no buildah here: the images are not built (apt-get install buildah)")
	}
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("images are built as root on Linux: not built here")
	}
	dir := t.TempDir()
	b := &builder{t: t, storage: []string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs"}}
	if out, err := b.try("", "images"); err != nil {
		t.Skipf("buildah does not work here: %v\n%s", err, out)
	}
	return b
}

// try runs buildah in dir.
func (b *builder) try(dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(b.t.Context(), "buildah", slices.Concat(b.storage, args)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (b *builder) run(dir string, args ...string) string {
	b.t.Helper()
	out, err := b.try(dir, args...)
	if err != nil {
		b.t.Fatalf("buildah %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// base makes an image named as a Dockerfile names it, from files of this machine.
func (b *builder) base(name, env string, files ...string) {
	b.t.Helper()
	dir := b.t.TempDir()
	for _, file := range files {
		into := filepath.Join(dir, "files", file)
		if err := os.MkdirAll(filepath.Dir(into), 0o755); err != nil {
			b.t.Fatal(err)
		}
		if out, err := exec.Command("cp", "--dereference", file, into).CombinedOutput(); err != nil {
			b.t.Fatalf("copy %s: %v\n%s", file, err, out)
		}
	}
	for _, made := range []string{"tmp", "root", "src"} {
		if err := os.MkdirAll(filepath.Join(dir, "files", made), 0o777); err != nil {
			b.t.Fatal(err)
		}
	}
	recipe := "FROM scratch\nCOPY files /\nENV " + env + "\n"
	if err := os.WriteFile(dir+"/Dockerfile", []byte(recipe), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.run(dir, "bud", "--layers=false", "--tag", name, ".")
}

// build makes the image of one of the repository's Dockerfiles.
func (b *builder) build(dockerfile string) string {
	b.t.Helper()
	name := "localhost/" + strings.ToLower(dockerfile)
	b.run(root, "bud", "--layers=false", "--pull-never", "--isolation", "chroot", "--format", "docker",
		"--timestamp", "0", "--file", dockerfile, "--tag", name,
		"--build-arg", "VERSION="+version, "--build-arg", "REVISION=0123abc",
		"--build-arg", "GO_IMAGE="+goImage, "--build-arg", "BASE_IMAGE="+baseImage,
		// The toolchain and its caches, which a registry's image brings along.
		"--volume", goEnv(b.t, "GOROOT")+":/usr/local/go:ro",
		"--volume", goEnv(b.t, "GOMODCACHE")+":/root/go/pkg/mod",
		"--volume", goEnv(b.t, "GOCACHE")+":/root/.cache/go-build", ".")
	return name
}

// mount returns the image's files.
func (b *builder) mount(image string) string {
	b.t.Helper()
	c := b.run("", "from", "--pull-never", image)
	return b.run("", "mount", c)
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// withLibraries returns programs and the libraries that they load.
func withLibraries(t *testing.T, programs ...string) []string {
	t.Helper()
	files := programs
	for _, p := range programs {
		out, err := exec.Command("ldd", p).Output()
		if err != nil {
			t.Fatalf("ldd %s: %v", p, err)
		}
		files = append(files, regexp.MustCompile(`/\S+\.so\S*`).FindAllString(string(out), -1)...)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

func TestImages(t *testing.T) {
	b := newBuilder(t)
	const certificates = "/etc/ssl/certs/ca-certificates.crt"
	b.base(goImage, "PATH=/usr/local/go/bin:/usr/bin:/bin HOME=/root",
		append(withLibraries(t, "/bin/sh", "/bin/ln"), certificates)...)
	b.base(baseImage, "PATH=/bin", certificates)

	var sidecar, app string // the files of both images
	t.Run("sidecar", func(t *testing.T) {
		image := b.build("Dockerfile.sidecar")
		checkConfig(t, b, image, []string{"/sidecar"}, []string{"serve"}, "8080/tcp 8081/tcp", []string{"CMD", "/sidecar", "probe"})
		sidecar = b.mount(image)
		checkProgram(t, sidecar, "/sidecar", "./sidecar/cmd/sidecar", "main.version")
		// A link, for `az containerapp exec`, which takes no arguments.
		out, err := inImage(t, sidecar, "/status").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "ask the sidecar at") {
			t.Errorf("/status: %v, %s", err, out)
		}
		checkContents(t, sidecar, "/LICENSE", certificates, "/sidecar", "/status")
	})
	t.Run("app", func(t *testing.T) {
		image := b.build("Dockerfile.app")
		checkConfig(t, b, image, []string{"/sidecar", "exec", "--", "/app"}, []string{"serve"}, "3000/tcp", nil)
		app = b.mount(image)
		checkProgram(t, app, "/sidecar", "./sidecar/cmd/sidecar", "main.version")
		checkProgram(t, app, "/app", "./app/cmd/app", "sluice/app/internal/cli.Version")
	})
	t.Run("deploy", func(t *testing.T) {
		if sidecar == "" || app == "" {
			t.Skip("an image was not built")
		}
		rehearseDeploy(t, sidecar, app)
	})
}

func checkConfig(t *testing.T, b *builder, image string, entrypoint, cmd []string, ports string, health []string) {
	t.Helper()
	var inspected struct {
		Docker struct {
			Config struct {
				User            string
				Entrypoint, Cmd []string
				ExposedPorts    map[string]struct{}
				Healthcheck     *struct{ Test []string }
				Labels          map[string]string
			} `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(b.run("", "inspect", "--type", "image", image)), &inspected); err != nil {
		t.Fatal(err)
	}
	c := inspected.Docker.Config
	if c.User != "65532:65532" || !slices.Equal(c.Entrypoint, entrypoint) || !slices.Equal(c.Cmd, cmd) {
		t.Errorf("user %q, entrypoint %q, command %q", c.User, c.Entrypoint, c.Cmd)
	}
	var exposed []string
	for p := range c.ExposedPorts {
		exposed = append(exposed, p)
	}
	slices.Sort(exposed)
	if strings.Join(exposed, " ") != ports {
		t.Errorf("exposes %v, want %v", exposed, ports)
	}
	if health != nil && (c.Healthcheck == nil || !slices.Equal(c.Healthcheck.Test, health)) {
		t.Errorf("health check %v, want %v", c.Healthcheck, health)
	}
	for label, want := range map[string]string{"version": version, "revision": "0123abc", "licenses": "MIT"} {
		if got := c.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
}

// checkProgram holds that a binary is static, says its version, and is the same
// byte for byte as one built from another directory.
func checkProgram(t *testing.T, files, path, pkg, variable string) {
	t.Helper()
	program := filepath.Join(files, path)
	parsed, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer parsed.Close()
	for _, p := range parsed.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s is not static", path)
		}
	}
	out, err := inImage(t, files, path, "version").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != version {
		t.Errorf("%s version: %q, %v; want %s", path, out, err, version)
	}
	again := filepath.Join(t.TempDir(), "again")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", fmt.Sprintf("-s -w -buildid= -X %s=%s", variable, version), "-o", again, pkg)
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	if string(readFile(t, again)) != string(readFile(t, program)) {
		t.Errorf("%s is not the same when built from another directory", path)
	}
	if info, err := os.Stat(program); err == nil {
		t.Logf("%s: %.1f MiB", path, float64(info.Size())/(1<<20))
	}
}

// inImage runs a command with the image's files as its root, as its user.
func inImage(t *testing.T, files string, command ...string) *exec.Cmd {
	return exec.CommandContext(t.Context(), "chroot", append([]string{"--userspec=65532:65532", files}, command...)...)
}

func checkContents(t *testing.T, files string, want ...string) {
	t.Helper()
	var got []string
	err := filepath.WalkDir(files, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, files)
		if !d.IsDir() {
			got = append(got, name)
		}
		return nil
	})
	if err != nil || !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("the image holds %q (%v), want %q", got, err, want)
	}
}
