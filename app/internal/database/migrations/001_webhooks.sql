-- One row per accepted webhook: its receipt, whose primary key makes a second
-- delivery of the same Sluice-Id a duplicate, and its payload.
CREATE TABLE app_webhooks (
    sluice_id   text PRIMARY KEY,
    source      text NOT NULL,
    delivery_id text NOT NULL,
    event       text NOT NULL,
    received_at timestamptz NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    headers     bytea NOT NULL, -- JSON; bytes because jsonb refuses NUL and reorders
    body        bytea           -- NULL once the payload was cleared
);
-- Bodies are read in slices and never searched: compressing them would only
-- cost time.
ALTER TABLE app_webhooks ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX app_webhooks_stored_at ON app_webhooks (stored_at);

-- The recent deliveries of senders that retry by themselves.
CREATE TABLE app_deliveries (
    source      text NOT NULL,
    delivery_id text NOT NULL,
    sluice_id   text NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, delivery_id)
);

-- The running app processes. When a process has ended, or has written no heartbeat
-- for longer than the limit, another process runs its jobs again.
CREATE TABLE app_instances (
    id         text PRIMARY KEY, -- as in river_job.attempted_by
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
);
