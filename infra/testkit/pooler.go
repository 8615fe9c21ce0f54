package testkit

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
)

// poolerConfig has fewer server connections than a client's pool, so that the
// transactions of one client run on different server connections.
const poolerConfig = `[databases]
* = host=%s port=%s user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = %d
`

// Pooler returns the URL of a PgBouncer in transaction mode in front of the
// database at direct, with the given number of server connections. It ends with the
// test, which is skipped where pgbouncer is not installed.
func Pooler(tb testing.TB, direct string, servers int) string {
	tb.Helper()
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		tb.Skip("pgbouncer is not installed")
	}
	u, err := url.Parse(direct)
	if err != nil {
		tb.Fatal(err)
	}
	address := Address(tb)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	ini := filepath.Join(dir, "pgbouncer.ini")
	config := fmt.Sprintf(poolerConfig, u.Hostname(), u.Port(), u.User.Username(), port, servers)
	if err := os.WriteFile(ini, []byte(config), 0o644); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(bin, "-q", ini)
	if os.Geteuid() == 0 { // it refuses to run as root
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		for parent := dir; strings.HasPrefix(parent, os.TempDir()+"/"); parent = filepath.Dir(parent) {
			if err := os.Chmod(parent, 0o755); err != nil {
				tb.Fatal(err)
			}
		}
	}
	p := Start(tb, cmd)
	u.Host = address
	Eventually(tb, "pgbouncer listens", func() bool {
		if !p.Running() {
			tb.Fatalf("pgbouncer has ended: %v", cmd.ProcessState)
		}
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return u.String()
}
