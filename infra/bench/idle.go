package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"sluice/infra/bench/load"
	"sluice/infra/bench/process"
)

// idle measures the sidecar's memory while nothing happens, with and without
// connections that were used once and are kept open, and the size of its binary.
type idle struct {
	stage *stage
	size  float64
}

const (
	sectionIdle = "Memory of an idle sidecar"
	idleRow     = "idle"
	binary      = "binary, stripped"
	spareFiles  = 200 // that bench and sidecar have open besides the connections
)

func (s *stage) newIdle(ctx context.Context) (*idle, error) {
	path := filepath.Join(s.dir, "stripped")
	if err := buildProgram(ctx, "sidecar", path, "-ldflags=-s -w"); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("measure binary: %w", err)
	}
	return &idle{stage: s, size: float64(info.Size()) / (1 << 20)}, nil
}

func (i *idle) round(ctx context.Context, number int, r *Report) error {
	app, err := freeAddr()
	if err != nil {
		return err
	}
	standIn, err := i.stage.start(i.stage.config.Self, i.stage.config.StandInApp(app), nil)
	if err != nil {
		return err
	}
	defer func() { _ = standIn.Kill() }() // the stage stops it again, and says what is wrong
	n, err := i.connections()
	if err != nil {
		return err
	}
	sc, err := i.stage.startSidecar(ctx, app, "GITHUB_WEBHOOK_SECRET="+load.Secret, "MAX_CONNECTIONS=0")
	if err != nil {
		return err
	}
	defer func() { _ = sc.Stop(stopLimit) }()
	if err := await(ctx, sc.Process, "http://"+sc.addr+"/healthz", `"passing"`); err != nil {
		return err
	}
	add := func(name string) error {
		bytes, err := process.Memory(sc.ID())
		r.add(sectionIdle, name, number, Figures{Megabytes: float64(bytes) / (1 << 20)})
		return err
	}
	if err := add(idleRow); err != nil {
		return err
	}
	open, err := load.Open(ctx, load.Target{Addr: sc.addr, Connections: n, Requests: load.GitHub(1, i.stage.config.Bytes)})
	defer closeAll(open)
	if err != nil {
		return err
	}
	if err := add(fmt.Sprintf("%d idle connections", n)); err != nil {
		return err
	}
	r.add(sectionIdle, binary, number, Figures{Megabytes: i.size})
	return nil
}

// connections is how many this process may open, which the sidecar may too.
func (i *idle) connections() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read limit of open files: %w", err)
	}
	want := i.stage.config.IdleConnections
	if limit.Cur < uint64(want)+spareFiles {
		want = max(1, int(limit.Cur)-spareFiles)
		i.stage.config.Progress("ulimit -n allows only " + strconv.Itoa(want) + " connections")
	}
	return want, nil
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}
