-- sluice: no transaction
-- One table at a time: a lock on one of them is never held while another is
-- waited for. A constant default rewrites nothing.

ALTER TABLE webhook_queue
    -- A dead letter of a time in which the app accepted nothing: a broken
    -- deploy rather than a bad webhook.
    ADD COLUMN IF NOT EXISTS suspect boolean NOT NULL DEFAULT false;

ALTER TABLE webhook_replicas
    -- The keys that a replica can open rows with, as in webhook_queue.key_id.
    ADD COLUMN IF NOT EXISTS key_ids bytea[] NOT NULL DEFAULT '{}',
    -- The app behind this replica refuses everything: others take its leases.
    ADD COLUMN IF NOT EXISTS breaker_open boolean NOT NULL DEFAULT false;

ALTER TABLE webhook_leases
    -- A row of the bucket waits for a replica that has this key.
    ADD COLUMN IF NOT EXISTS key_id bytea;
