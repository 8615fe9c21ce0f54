package supervise

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// firstInherited is the first open file that a service manager hands over
// (sd_listen_fds(3)).
const firstInherited = 3

// inheritedQuiet is how long nobody may have come before the end, where the
// service manager keeps the socket: no new connection is accepted meanwhile, so
// only requests of open connections are waited for.
const inheritedQuiet = time.Second

// inherited are the listening sockets that a service manager opened. It keeps
// them while no sidecar runs, so a restart refuses no connection: it waits in the
// kernel's queue for the next process.
type inherited []net.Listener

// inherit takes over the sockets that are meant for this process. Each must be
// one of addrs, or senders would wait for ever on one that nobody serves.
func inherit(addrs ...string) (sockets inherited, err error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name) // they are not meant for the app that `run` starts
	}
	if pid != strconv.Itoa(os.Getpid()) || count == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_FDS must be a number; it is %q", count)
	}
	for fd := firstInherited; fd < firstInherited+n; fd++ {
		syscall.CloseOnExec(fd)
		file := os.NewFile(uintptr(fd), "inherited socket")
		l, err := net.FileListener(file)
		file.Close() // the listener has a copy
		if err != nil {
			return nil, fmt.Errorf("use inherited socket %d: %w", fd, err)
		}
		if !serves(addrs, l.Addr()) {
			return nil, fmt.Errorf("inherited socket %s must be one of %s", l.Addr(), strings.Join(addrs, ", "))
		}
		sockets = append(sockets, l)
	}
	return sockets, nil
}

// listen returns the inherited socket of an address, or opens one.
func (s inherited) listen(network, addr string) (net.Listener, error) {
	for _, l := range s {
		if serves([]string{addr}, l.Addr()) {
			return l, nil
		}
	}
	return net.Listen(network, addr)
}

// has reports whether the socket of an address is the service manager's.
func (s inherited) has(addr string) bool {
	for _, l := range s {
		if serves([]string{addr}, l.Addr()) {
			return true
		}
	}
	return false
}

// serves reports whether a socket is bound to one of the addresses. A socket on
// one address is enough for a setting that means all of them.
func serves(addrs []string, socket net.Addr) bool {
	bound, ok := socket.(*net.TCPAddr)
	if !ok {
		return false
	}
	for _, addr := range addrs {
		wanted, err := net.ResolveTCPAddr("tcp", addr)
		if err == nil && wanted.Port == bound.Port && (len(wanted.IP) == 0 || wanted.IP.IsUnspecified() || wanted.IP.Equal(bound.IP)) {
			return true
		}
	}
	return false
}

// tellManager tells the service manager how far this process is (sd_notify(3)).
// Without one it does nothing.
func tellManager(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if strings.HasPrefix(path, "@") { // in the abstract namespace
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell service manager: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell service manager: %w", err)
	}
	return nil
}
