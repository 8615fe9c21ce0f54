-- Finds the unfinished jobs of a concurrency key in their order.
CREATE INDEX app_job_keys ON river_job ((args->>'key'), id)
    WHERE args->>'key' IS NOT NULL AND finalized_at IS NULL;
