package buffer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// direct is the mark of a connection with nobody between it and its server.
const direct = "sluice.direct"

// markDirect finds out whether a connection is direct. A pooler such as
// PgBouncer gives its clients cancel keys of its own, so the process id that the
// client was told is not that of the server process that answers.
func markDirect(ctx context.Context, c *pgx.Conn) error {
	var pid uint32
	if err := c.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return fmt.Errorf("ask for server process: %w", err)
	}
	if pid == c.PgConn().PID() {
		c.PgConn().CustomData()[direct] = true
	}
	return nil
}

// planned says how the statements that run again and again are sent: prepared
// where that is safe, which spares the server a third of its work on a small
// batch, and described otherwise.
type planned struct{ off atomic.Bool }

func (p *planned) mode(c *pgx.Conn) pgx.QueryExecMode {
	if p.safe(c) {
		return pgx.QueryExecModeCacheStatement
	}
	return pgx.QueryExecModeCacheDescribe
}

func (p *planned) safe(c *pgx.Conn) bool {
	is, _ := c.PgConn().CustomData()[direct].(bool)
	return is && !p.off.Load()
}

// exec runs sql with parameters and rows in the binary form and reads all rows.
func (p *planned) exec(ctx context.Context, c *pgx.Conn, sql string, params [][]byte) ([][][]byte, error) {
	binary := []int16{pgx.BinaryFormatCode}
	var reader *pgconn.ResultReader
	if p.safe(c) {
		statement, err := c.Prepare(ctx, sql, sql) // once a connection
		if err != nil {
			return nil, err
		}
		reader = c.PgConn().ExecStatement(ctx, statement, params, binary, binary)
	} else {
		reader = c.PgConn().ExecParams(ctx, sql, params, nil, binary, binary)
	}
	result := reader.Read()
	return result.Rows, result.Err
}

// doubt turns preparing off for good when a server does not know a statement
// that was prepared, or has one that was not: somebody is in between after all.
func (p *planned) doubt(err error) {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "26000" || pg.Code == "42P05") {
		p.off.Store(true)
	}
}
