-- A migration may only add: two versions of the sidecar share these tables
-- during a deploy. Give a new column a default or let it be NULL.

CREATE TABLE webhook_queue (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sluice_id    uuid NOT NULL,
    source       text NOT NULL,
    delivery_id  text,
    event_name   text,
    -- "C": a lane is compared byte by byte, and an operating system's new
    -- collation cannot break the index.
    lane         text COLLATE "C" NOT NULL,
    bucket       smallint NOT NULL,
    -- bytea, because headers and bodies are bytes: jsonb refuses NUL and
    -- Latin-1 and forgets repeated names.
    headers      bytea,
    body         bytea,
    body_size    bigint NOT NULL DEFAULT 0,
    key_id       bytea,
    verified     text,
    received_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    queued_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_at   timestamptz,
    processed_at timestamptz,
    status       text NOT NULL DEFAULT 'pending'
                 CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
    attempts     integer NOT NULL DEFAULT 0,
    claim_epoch  bigint,
    awaited_by   uuid,
    dedupe_key   bytea,
    dup_count    integer NOT NULL DEFAULT 0,
    last_error   text
) WITH (
    -- A queue churns: many dead versions, few live rows.
    fillfactor = 90,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 1,
    toast.autovacuum_vacuum_scale_factor = 0.05
);

-- EXTERNAL: no compression (3.2x slower at 20 KB), and a slice of a big body
-- can be read without the rest.
ALTER TABLE webhook_queue ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE webhook_queue ALTER COLUMN headers SET STORAGE EXTERNAL;

-- Unique among active rows only, so that a deliberate redelivery passes.
CREATE UNIQUE INDEX webhook_queue_dedupe ON webhook_queue (dedupe_key)
    WHERE status IN ('pending', 'processing');
-- The replay's index: lanes of a bucket, lowest id first.
CREATE INDEX webhook_queue_lane ON webhook_queue (bucket, lane, id)
    WHERE status IN ('pending', 'processing');
-- The few rows that block their lane until a late answer is known.
CREATE INDEX webhook_queue_awaited ON webhook_queue (bucket, lane, id)
    WHERE status IN ('pending', 'processing') AND awaited_by IS NOT NULL;
CREATE INDEX webhook_queue_failed ON webhook_queue (id)
    WHERE status = 'failed';

CREATE SEQUENCE webhook_replica_seq;

CREATE TABLE webhook_replicas (
    id         uuid PRIMARY KEY,
    name       text NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    state      text NOT NULL,
    strict     boolean NOT NULL DEFAULT false,
    seq        bigint NOT NULL,
    seen_seq   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE webhook_leases (
    bucket     smallint PRIMARY KEY,
    holder     uuid,
    epoch      bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);

INSERT INTO webhook_leases (bucket) SELECT generate_series(0, 15);
