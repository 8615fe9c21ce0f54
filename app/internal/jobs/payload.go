package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// errNoPayload: the webhook's row was deleted after its retention.
var errNoPayload = errors.New("payload is no longer stored")

// slice is how much of a payload is read at once. A larger payload is copied to a
// file without a name, so that memory stays bounded however many jobs run.
const slice = 1 << 20

// payload is a webhook's body, which can be read more than once, and its header
// fields.
type payload struct {
	io.ReadSeeker
	size   int64
	header map[string][]string
	file   *os.File
}

// loadPayload reads the whole payload before an action starts: a command must
// never see half of one.
func loadPayload(ctx context.Context, pool *pgxpool.Pool, id string) (*payload, error) {
	const first = `
SELECT substring(body FROM 1 FOR $2), octet_length(body), headers
FROM app_webhooks WHERE sluice_id = $1 AND body IS NOT NULL`
	var head, fields []byte
	var size int64
	err := pool.QueryRow(ctx, first, id, slice).Scan(&head, &size, &fields)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errNoPayload
	}
	if err != nil {
		return nil, fmt.Errorf("read payload: %w", err)
	}
	p := &payload{ReadSeeker: bytes.NewReader(head), size: size}
	if int64(len(head)) < size {
		if p, err = spoolPayload(ctx, pool, id, head, size); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(fields, &p.header); err != nil {
		return nil, errors.Join(fmt.Errorf("read header fields: %w", err), p.close())
	}
	return p, nil
}

// all reads the whole payload and rewinds it.
func (p *payload) all() ([]byte, error) {
	if _, err := p.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("rewind payload: %w", err)
	}
	b := make([]byte, p.size)
	if _, err := io.ReadFull(p, b); err != nil {
		return nil, fmt.Errorf("read payload: %w", err)
	}
	if _, err := p.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("rewind payload: %w", err)
	}
	return b, nil
}

// spoolPayload copies a large payload to a file that is already unlinked.
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
