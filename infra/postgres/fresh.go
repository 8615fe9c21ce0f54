package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
)

// TestURLVar is the variable with the URL of a server that tests share. Package
// testkit makes a database for each test on it.
const TestURLVar = "SLUICE_TEST_DATABASE_URL"

// Fresh makes a new, empty database on the server that base names and returns
// its URL. drop removes it and cuts connections that are still open.
func Fresh(ctx context.Context, base string) (fresh string, drop func(context.Context) error, err error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", nil, fmt.Errorf("parse server URL: %w", err)
	}
	name := "t_" + strings.ToLower(rand.Text())
	u.Path = "/" + name
	// CREATE DATABASE needs a template without connections; template0 allows none.
	if err := execute(ctx, base, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		return "", nil, err
	}
	drop = func(ctx context.Context) error {
		return execute(ctx, base, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	}
	return u.String(), drop, nil
}

func execute(ctx context.Context, base, sql string) error {
	conn, err := pgx.Connect(ctx, base)
	if err != nil {
		return fmt.Errorf("connect to server: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("run %.40q: %w", sql, err)
	}
	return nil
}
