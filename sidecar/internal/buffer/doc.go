// Package buffer keeps webhooks in PostgreSQL until the app has them.
//
// It owns the tables webhook_queue, webhook_replicas and webhook_leases, every
// SQL statement on them, and the pool. A nil error from Append means: committed.
// It must never answer before the commit, never guess the outcome of a lost
// connection, never deliver anything and never decide when a lane opens.
// ingress appends, replay claims and settles, supervise migrates, joins, beats
// and leaves.
//
// Everything here works through PgBouncer in transaction mode: no session
// locks, no LISTEN, no startup parameter but application_name, and prepared
// statements on connections alone that nobody shares (prepare.go).
//
// # A row's life
//
//	Append         -> pending
//	AppendAwaited  -> processing, awaited_by = this replica
//	SettleAwaited  -> completed, or pending
//	Claim          -> processing, claim_epoch = the lease's
//	Settle         -> completed | failed | pending (Returned)
//
// A row is active while it is pending or processing. Whoever holds the lease of
// a row's bucket may claim any active row that is not awaited and that it has
// not in hand: what an earlier holder claimed is stale, and what this holder
// claimed without having it in hand is a claim whose answer was lost. That is
// why the operators' UPDATE of processing rows to pending does no harm: neither
// awaited_by nor the caller's list of rows in hand depends on the status.
//
// # Why sixteen exported names
//
// Four of them are the values of [Result]; each of the others is a parameter or
// a result of a method of [Store].
package buffer
