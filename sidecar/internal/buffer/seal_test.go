package buffer

import (
	"bytes"
	"testing"

	"sluice/infra/testkit"
)

func TestEncryption(t *testing.T) {
	url := testkit.Database(t)
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }
	with := func(keys ...[]byte) func(*Config) { return func(c *Config) { c.Keys = keys } }
	plain, first, rotated := open(t, url), open(t, url, with(key(1))), open(t, url, with(key(2), key(1)))
	db := sqlConn(t, url)
	secret := bytes.Repeat([]byte("s3cret-payload "), 100)
	big := bytes.Repeat([]byte("s3cret-payload "), 100_000)
	for n, s := range []*Store{plain, first, rotated, rotated, rotated} {
		w := hook("lane", n)
		w.Body = secret
		if n == 3 {
			w.Body = big
		}
		if n == 4 {
			w.Body = nil
		}
		mustAppend(t, s, w)
	}
	if n := query[int](t, db, `SELECT count(*) FROM webhook_queue WHERE position('s3cret'::bytea IN body) > 0 OR position('POST'::bytea IN headers) > 0`); n[0] != 1 {
		t.Errorf("%d rows are readable, want the plain one", n[0])
	}
	leases := lease(t, rotated)
	rows := claim(t, rotated, leases, ClaimFilter{})
	if len(rows) != 5 {
		t.Fatalf("claimed %d rows", len(rows))
	}
	for i := range rows {
		want := [][]byte{secret, secret, secret, big, nil}[i]
		err := rotated.LoadBody(t.Context(), &rows[i])
		if err != nil || !bytes.Equal(rows[i].Webhook.Body, want) || !bytes.HasPrefix(rows[i].Webhook.Head, []byte("POST ")) {
			t.Errorf("row %d: %v", i, err)
		}
	}
	// With another row's bytes a row is unreadable; without the key it is locked.
	exec(t, db, `UPDATE webhook_queue a SET body = b.body FROM webhook_queue b WHERE a.id = 3 AND b.id = 2`)
	exec(t, db, `UPDATE webhook_queue SET key_id = (SELECT key_id FROM webhook_queue WHERE id = 2) WHERE id = 3`)
	if err := rotated.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	leases = lease(t, first)
	rows = claim(t, first, leases, ClaimFilter{})
	for i, readable := range []bool{true, true, false, true, true} {
		if locked := i > 2; (rows[i].Err == nil) != readable || (rows[i].Locked != "") != locked {
			t.Errorf("row %d: %v, locked by %q", i, rows[i].Err, rows[i].Locked)
		}
	}
	if len(rows[3].Webhook.Body) > 0 || first.LoadBody(t.Context(), &rows[3]) == nil || rows[3].Err != nil {
		t.Error("a body was loaded without its key")
	}
}
