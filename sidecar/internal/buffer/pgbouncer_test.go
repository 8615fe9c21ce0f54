package buffer

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/infra/postgres"
)

// Through PgBouncer in transaction mode with fewer server connections than the
// store has: nothing may depend on a session.
func TestThroughPgBouncer(t *testing.T) {
	bin, err := osexec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("no pgbouncer installed")
	}
	direct := postgres.New(t)
	through := bouncer(t, bin, direct)
	one, two := openOnly(t, through), openOnly(t, through)
	migrated := make(chan error, 2)
	for _, s := range []*Store{one, two} {
		go func() { migrated <- s.Migrate(t.Context()) }()
	}
	for range 2 {
		if err := <-migrated; err != nil {
			t.Fatal(err)
		}
	}
	l, stop := crowd(t, one, 16)
	lease(t, two)
	big := hook("big", 1)
	big.Body = bytes.Repeat([]byte("x"), 3<<20)
	mustAppend(t, two, big)
	if _, err := two.AppendAwaited(t.Context(), hook("awaited", 1)); err != nil {
		t.Fatal(err)
	}
	done := 0
	eventually(t, "rows are replayed", func() bool {
		if _, err := two.Beat(t.Context(), "passing", 0); err != nil {
			t.Fatal(err)
		}
		leases, _ := renew(t, two)
		rows := claim(t, two, leases, ClaimFilter{Limit: 50})
		var out []Outcome
		for i := range rows {
			if err := two.LoadBody(t.Context(), &rows[i]); err != nil {
				t.Fatal(err)
			}
			out = append(out, Outcome{QueueID: rows[i].QueueID, Epoch: rows[i].Epoch, Result: Completed, Attempt: 1})
		}
		settle(t, two, out...)
		done += len(out)
		return done > 500
	})
	stop()
	if _, err := one.Backlog(t.Context(), []string{"lane1"}, 5); err != nil {
		t.Error(err)
	}
	if err := two.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if _, refused := l.count(); refused > 0 {
		t.Errorf("%d refused", refused)
	}
	l.check(t, direct)
}

// bouncer runs pgbouncer before the database at direct until the test ends.
func bouncer(t *testing.T, bin, direct string) string {
	t.Helper()
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr)
	_ = listener.Close() // pgbouncer takes it; another process is unlikely to meanwhile
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
default_pool_size = 3
`, u.Hostname(), u.Port(), u.User.Username(), address.Port)
	if err := os.WriteFile(ini, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(bin, "-q", ini)
	var said bytes.Buffer
	cmd.Stderr = &said
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
		if t.Failed() {
			t.Logf("pgbouncer: %.2000s", said.String())
		}
	})
	u.Host = address.String()
	eventually(t, "pgbouncer listens", func() bool {
		c, err := net.DialTimeout("tcp", u.Host, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return u.String()
}
