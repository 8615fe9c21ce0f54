package service_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/infra/ports"
)

// Behind PgBouncer in transaction mode, with few server connections, the app
// starts, runs jobs in their keys' order and drains.
func TestThroughPgBouncer(t *testing.T) {
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("no pgbouncer installed")
	}
	db := bouncer(t, bin, newDatabase(t))
	dir := t.TempDir()
	file := rulesFile(t, fmt.Sprintf(`
hooks:
  - name: keyed
    concurrency_key: all
    action: {exec: {shell: 'echo $SLUICE_DELIVERY_ID >> %s/out'}}
`, dir))
	env := []string{"DATABASE_URL=" + db, "DATABASE_POOLER=transaction", "HOOKS_FILE=" + file}
	apps := []*proc{start(t, env...), start(t, env...)}
	const jobs = 8
	for i := range jobs {
		if code, body := apps[i%2].post(fmt.Sprint(i), "{}"); code != 202 {
			t.Fatalf("answered %d %s", code, body)
		}
	}
	eventually(t, "end of jobs", func() bool { return len(lines(t, dir+"/out")) == jobs })
	if got := strings.Join(lines(t, dir+"/out"), ""); got != "01234567" {
		t.Errorf("ran in the order %s", got)
	}
	for _, p := range apps {
		p.signal(syscall.SIGTERM)
		if code := p.exit(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// bouncer runs pgbouncer before the database at direct until the test ends.
func bouncer(t *testing.T, bin, direct string) string {
	t.Helper()
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	port, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ini := filepath.Join(dir, "pgbouncer.ini")
	config := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
`, u.Hostname(), u.Port(), u.User.Username(), port)
	if err := os.WriteFile(ini, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-q", ini)
	if os.Geteuid() == 0 { // it refuses to run as root
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		for parent := dir; strings.HasPrefix(parent, os.TempDir()+"/"); parent = filepath.Dir(parent) {
			if err := os.Chmod(parent, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	u.Host = fmt.Sprintf("127.0.0.1:%d", port)
	eventually(t, "pgbouncer", func() bool {
		c, err := net.DialTimeout("tcp", u.Host, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return u.String()
}
