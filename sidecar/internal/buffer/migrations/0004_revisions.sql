-- Revisions whose app has been healthy once: a replacement replica of one need
-- not wait for its app before it is let in.
CREATE TABLE webhook_revisions (
    name       text PRIMARY KEY,
    healthy_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
