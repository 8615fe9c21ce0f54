package buffer

import (
	"slices"
	"sync"
	"testing"

	"sluice/infra/testkit"
)

func TestMigrateRaced(t *testing.T) {
	url := testkit.Database(t)
	var stores []*Store
	for range 5 {
		stores = append(stores, openOnly(t, url))
	}
	applied, missing, err := stores[0].Migrations(t.Context())
	if err != nil || len(applied) != 0 || len(missing) == 0 {
		t.Fatalf("new database: applied %v, missing %v, %v", applied, missing, err)
	}
	var wait sync.WaitGroup
	for _, s := range stores {
		wait.Go(func() {
			if err := s.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	after, left, err := stores[0].Migrations(t.Context())
	if err != nil || len(left) != 0 || !slices.Equal(after, missing) {
		t.Fatalf("applied %v, missing %v, %v", after, left, err)
	}
	// A newer version's database is left alone.
	db := sqlConn(t, url)
	exec(t, db, `INSERT INTO webhook_migrations (version, name) VALUES (9999, '9999_future')`)
	if err := stores[1].Migrate(t.Context()); err != nil {
		t.Error(err)
	}
	mustAppend(t, stores[1], hook("lane", 1))
}
