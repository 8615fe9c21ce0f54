package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// errNoPayload: the webhook's row is gone, its retention is over.
var errNoPayload = errors.New("payload is no longer stored")

// slice is how much of a payload is read at once. A larger one goes through a
// file without a name, so that memory stays bounded however many jobs run.
const slice = 1 << 20

// payload is a webhook's body, ready to be read as often as needed.
type payload struct {
	io.ReadSeeker
	size int64
	file *os.File
}

// loadPayload reads the whole payload before anything is started with it: a
// command must never see half of one.
func loadPayload(ctx context.Context, pool *pgxpool.Pool, id string) (*payload, error) {
	const first = `SELECT substring(body FROM 1 FOR $2), octet_length(body) FROM app_webhooks WHERE sluice_id = $1 AND body IS NOT NULL`
	var head []byte
	var size int64
	err := pool.QueryRow(ctx, first, id, slice).Scan(&head, &size)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errNoPayload
	}
	if err != nil {
		return nil, fmt.Errorf("read payload: %w", err)
	}
	if int64(len(head)) == size {
		return &payload{ReadSeeker: bytes.NewReader(head), size: size}, nil
	}
	return spoolPayload(ctx, pool, id, head, size)
}

func spoolPayload(ctx context.Context, pool *pgxpool.Pool, id string, part []byte, size int64) (*payload, error) {
	const next = `SELECT substring(body FROM $2 FOR $3) FROM app_webhooks WHERE sluice_id = $1`
	file, err := os.CreateTemp("", "payload-*")
	if err != nil {
		return nil, fmt.Errorf("make payload file: %w", err)
	}
	p := &payload{ReadSeeker: file, size: size, file: file}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("unlink payload file: %w", err), p.close())
	}
	for at := int64(0); ; {
		if _, err := file.Write(part); err != nil {
			return nil, errors.Join(fmt.Errorf("write payload file: %w", err), p.close())
		}
		at += int64(len(part))
		if at == size {
			break
		}
		if err := pool.QueryRow(ctx, next, id, at+1, slice).Scan(&part); err != nil {
			return nil, errors.Join(fmt.Errorf("read payload: %w", err), p.close())
		}
		if len(part) == 0 {
			return nil, errors.Join(errNoPayload, p.close())
		}
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(fmt.Errorf("rewind payload file: %w", err), p.close())
	}
	return p, nil
}

func (p *payload) close() error {
	if p.file == nil {
		return nil
	}
	return p.file.Close()
}
