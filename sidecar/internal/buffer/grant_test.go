package buffer

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"sluice/infra/testkit"
)

// as returns the database's URL for another role.
func as(t *testing.T, address, role, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}

// administered returns a database whose owner is an administrator as Azure has
// them: no superuser, but one that makes roles.
func administered(t *testing.T) (super, admin, role string) {
	t.Helper()
	super = testkit.Database(t)
	u, err := url.Parse(super)
	if err != nil {
		t.Fatal(err)
	}
	id := strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	admin, role = "admin_"+id, "runtime-"+id
	c := sqlConn(t, super)
	for _, sql := range []string{
		"CREATE ROLE " + admin + " LOGIN CREATEROLE PASSWORD 'admin'",
		"ALTER DATABASE " + quoted(strings.TrimPrefix(u.Path, "/")) + " OWNER TO " + admin,
	} {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return super, as(t, super, admin, "admin"), role
}

func TestGrantOnANewDatabase(t *testing.T) {
	super, admin, role := administered(t)
	g := Grant{Role: role, Scaler: "scaler_" + role, ScalerPassword: "it's one"}
	c := Config{URL: admin, Instance: uuid.NewString()}
	for range 2 { // a second time changes nothing
		if err := g.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sqlConn(t, super).Exec(t.Context(), "ALTER ROLE "+quoted(role)+" PASSWORD 'runtime'"); err != nil {
		t.Fatal(err)
	}
	// The role migrates and works; it is no administrator.
	s := open(t, as(t, super, role, "runtime"))
	mustAppend(t, s, hook("one", 1))
	runtime := sqlConn(t, as(t, super, role, "runtime"))
	for _, forbidden := range []string{"CREATE ROLE another", "CREATE DATABASE another", "CREATE SCHEMA another"} {
		if _, err := runtime.Exec(t.Context(), forbidden); err == nil {
			t.Errorf("%s is allowed", forbidden)
		}
	}
	// The scaler counts by status, and reads nothing else.
	scaler := sqlConn(t, as(t, super, g.Scaler, g.ScalerPassword))
	var n int
	err := scaler.QueryRow(t.Context(), `SELECT count(*) FROM webhook_queue WHERE status IN ('pending', 'processing')`).Scan(&n)
	if err != nil || n != 1 {
		t.Errorf("the scaler counts %d, %v", n, err)
	}
	if _, err := scaler.Exec(t.Context(), `SELECT body FROM webhook_queue`); err == nil {
		t.Error("the scaler reads bodies")
	}
}

// On an installation that exists the tables are an administrator's. They change
// their owner, and whoever works as the old owner meanwhile goes on.
func TestGrantChangesTheOwner(t *testing.T) {
	super, admin, role := administered(t)
	old := open(t, admin)
	if _, err := sqlConn(t, admin).Exec(t.Context(), `
		CREATE TYPE mood AS ENUM ('fine');
		CREATE TABLE other (id bigserial PRIMARY KEY, mood mood);
		CREATE FUNCTION two() RETURNS int LANGUAGE sql AS 'SELECT 2'`); err != nil {
		t.Fatal(err)
	}
	if err := (Grant{Role: role}).Apply(t.Context(), Config{URL: admin, Instance: uuid.NewString()}); err != nil {
		t.Fatal(err)
	}
	c := sqlConn(t, super)
	var others int
	err := c.QueryRow(t.Context(), `SELECT
		(SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner <> $1::text::regrole) +
		(SELECT count(*) FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typowner <> $1::text::regrole) +
		(SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proowner <> $1::text::regrole)`, role).Scan(&others)
	if err != nil || others != 0 {
		t.Errorf("%d objects are still somebody else's, %v", others, err)
	}
	mustAppend(t, old, hook("one", 1))
	if _, err := c.Exec(t.Context(), "ALTER ROLE "+quoted(role)+" PASSWORD 'runtime'"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, open(t, as(t, super, role, "runtime")), hook("one", 2))
	mustAppend(t, open(t, admin), hook("one", 3)) // an old revision that starts again
}

// The change of owner waits for whoever reads the table, and no append waits
// behind it for long.
func TestGrantBesideTraffic(t *testing.T) {
	_, admin, role := administered(t)
	s := open(t, admin, func(c *Config) { c.AppendTimeout = 1500 * time.Millisecond })
	reader := sqlConn(t, admin)
	exec(t, reader, `BEGIN`)
	exec(t, reader, `SELECT count(*) FROM webhook_queue`)
	done := make(chan error, 1)
	go func() { done <- (Grant{Role: role}).Apply(t.Context(), Config{URL: admin, Instance: uuid.NewString()}) }()
	for n, begun := 0, time.Now(); time.Since(begun) < 3*time.Second; n++ {
		mustAppend(t, s, hook("one", n))
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait for the reader: %v", err)
	default:
	}
	exec(t, reader, `COMMIT`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestARevisionIsProvenOnce(t *testing.T) {
	s := open(t, testkit.Database(t))
	for _, want := range []bool{false, true, true} {
		got, err := s.RevisionProven(t.Context(), "app--one")
		if err != nil || got != want {
			t.Errorf("proven %v, %v; want %v", got, err, want)
		}
		if err := s.ProveRevision(t.Context(), "app--one"); err != nil {
			t.Fatal(err)
		}
	}
}
