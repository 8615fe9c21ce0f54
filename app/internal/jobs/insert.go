package jobs

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"sluice/app/internal/hooks"
)

// For returns the jobs of a webhook: one for each hook that it starts.
func For(args Args, matches []hooks.Match) []river.InsertManyParams {
	params := make([]river.InsertManyParams, 0, len(matches))
	for _, m := range matches {
		args.Hook, args.Key = m.Hook.Name, m.Key
		params = append(params, river.InsertManyParams{
			Args: args,
			InsertOpts: &river.InsertOpts{
				MaxAttempts: m.Hook.Retries.Attempts,
				// A job with a key stays pending until it is the first of its key.
				Pending: m.Key != "",
			},
		})
	}
	return params
}

// Insert adds jobs within the caller's transaction, in their order. Jobs with
// a concurrency key become available when those before them have ended.
func (r *Runner) Insert(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) error {
	var keys []string
	for _, p := range params {
		if key := p.Args.(Args).Key; key != "" { //nolint:forcetypeassert // For sets nothing else
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if len(keys) > 0 {
		// Lock before the ids are given, so that their order is the order of commits.
		if err := lockKeys(ctx, tx, keys); err != nil {
			return err
		}
	}
	if _, err := r.client.InsertManyTx(ctx, tx, params); err != nil {
		return fmt.Errorf("insert jobs: %w", err)
	}
	if len(keys) > 0 {
		return promote(ctx, tx, keys)
	}
	return nil
}
