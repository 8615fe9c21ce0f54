package buffer

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Grant is who may do what in the database: a role that the containers sign in
// as, which owns the tables and nothing else, and one that may only count.
type Grant struct {
	Role     string
	ObjectID string // of the Entra identity that the role belongs to; "" for none

	Scaler         string // "" for no such role
	ScalerPassword string
}

const grantTimeout = 2 * time.Minute

// How an Entra identity signs in as a role (learn.microsoft.com,
// postgresql/flexible-server/how-to-manage-azure-ad-users, enable Microsoft Entra
// authentication for an existing role). CREATE ROLE makes its maker a member with
// the admin option, which the service's own function would not.
const entraLabel = `SECURITY LABEL FOR pgaadauth ON ROLE %s IS 'aadauth,oid=%s,type=service'`

// What a role owns in the schema, apart from what follows its table: an identity
// column's sequence, an extension's objects.
const ownedByOthersSQL = `
SELECT format('ALTER %s %I.%I OWNER TO %I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END,
	n.nspname, c.relname, $1::text)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'S') AND c.relowner <> $1::text::regrole
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i', 'e'))
UNION ALL
SELECT format('ALTER TYPE %I.%I OWNER TO %I', n.nspname, t.typname, $1::text)
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = 'public' AND t.typtype IN ('e', 'd') AND t.typowner <> $1::text::regrole
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
UNION ALL
SELECT format('ALTER ROUTINE %s OWNER TO %I', p.oid::regprocedure, $1::text)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'public' AND p.proowner <> $1::text::regrole
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')`

// Apply makes the roles and gives them their grants, as an administrator of the
// server who owns the database. It changes nothing that is so already, and stays
// a member of the role, so that whoever was the owner before can still read and
// write: an old revision does during the deploy.
func (g Grant) Apply(ctx context.Context, c Config) error {
	ctx, cancel := context.WithTimeout(ctx, grantTimeout)
	defer cancel()
	if g.Scaler != "" {
		// Its grant is on a table, which a new database does not have.
		if err := migrateOnce(ctx, c); err != nil {
			return err
		}
	}
	pc, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return urlError(c.URL, err)
	}
	if c.Password != nil {
		if pc.Password, err = c.Password(ctx); err != nil {
			return fmt.Errorf("sign in as the administrator: %w", err)
		}
	}
	conn, err := pgx.ConnectConfig(ctx, pc)
	if err != nil {
		return unavailable("connect as the administrator", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return g.apply(ctx, tx, pc.Database) }); err != nil {
		return err
	}
	if err := g.takeOver(ctx, conn); err != nil || g.Scaler == "" {
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return g.applyScaler(ctx, tx, quoted(pc.Database)) })
}

// takeOver makes the role the owner of what others own, one object at a time. Each
// change steps back soon, as a migration's does: appends wait behind it.
func (g Grant) takeOver(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, ownedByOthersSQL, g.Role)
	if err != nil {
		return fmt.Errorf("list what others own: %w", err)
	}
	changes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list what others own: %w", err)
	}
	if _, err := conn.Exec(ctx, fmt.Sprintf("SET lock_timeout = %d", changeWait.Milliseconds())); err != nil {
		return fmt.Errorf("bound the wait for locks: %w", err)
	}
	for _, sql := range changes {
		for rest := changeMinRest; ; rest = min(2*rest, changeMaxRest) {
			_, err := conn.Exec(ctx, sql)
			if err == nil {
				break
			}
			if faultOf(err) != faultBusy || !pause(ctx, rest) {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
	}
	return nil
}

func migrateOnce(ctx context.Context, c Config) error {
	s, err := Open(ctx, c)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Migrate(ctx)
}

func (g Grant) apply(ctx context.Context, tx pgx.Tx, database string) error {
	role, db := quoted(g.Role), quoted(database)
	var statements []string
	there, err := roleExists(ctx, tx, g.Role)
	if err != nil {
		return err
	}
	if !there {
		statements = append(statements, "CREATE ROLE "+role+" LOGIN")
	}
	if g.ObjectID != "" {
		statements = append(statements, fmt.Sprintf(entraLabel, role, literal(g.ObjectID)))
	}
	statements = append(statements, "GRANT "+role+" TO CURRENT_USER",
		"GRANT CONNECT ON DATABASE "+db+" TO "+role,
		"GRANT USAGE, CREATE ON SCHEMA public TO "+role)
	return run(ctx, tx, statements)
}

func (g Grant) applyScaler(ctx context.Context, tx pgx.Tx, db string) error {
	there, err := roleExists(ctx, tx, g.Scaler)
	if err != nil {
		return err
	}
	verb := "CREATE"
	if there {
		verb = "ALTER"
	}
	scaler := quoted(g.Scaler)
	if _, err := tx.Exec(ctx, verb+" ROLE "+scaler+" LOGIN PASSWORD '"+literal(g.ScalerPassword)+"'"); err != nil {
		return fmt.Errorf("make role %s: %w", g.Scaler, err) // the statement has a password
	}
	return run(ctx, tx, []string{
		"GRANT CONNECT ON DATABASE " + db + " TO " + scaler,
		"GRANT USAGE ON SCHEMA public TO " + scaler,
		"GRANT SELECT (status) ON webhook_queue TO " + scaler,
	})
}

func run(ctx context.Context, tx pgx.Tx, statements []string) error {
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

func roleExists(ctx context.Context, tx pgx.Tx, role string) (there bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, role).Scan(&there)
	if err != nil {
		return false, fmt.Errorf("look up role %s: %w", role, err)
	}
	return there, nil
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// literal is a text between quotes, where standard_conforming_strings is on.
func literal(text string) string { return strings.ReplaceAll(text, "'", "''") }
