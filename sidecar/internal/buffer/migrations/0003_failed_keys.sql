-- sluice: no transaction
-- A row that is done needs no dedupe key, and with one it may meet an active
-- row, or another failed one, when an operator makes it pending again. Page by
-- page, so that no transaction is long, whatever has piled up.

DO $$
DECLARE
    last bigint := 0;
    page bigint[];
BEGIN
    LOOP
        SELECT array_agg(f.id) INTO page FROM (
            SELECT id FROM webhook_queue WHERE status = 'failed' AND id > last ORDER BY id LIMIT 500
        ) AS f;
        EXIT WHEN page IS NULL;
        UPDATE webhook_queue SET dedupe_key = NULL
        WHERE id = ANY (page) AND status = 'failed' AND dedupe_key IS NOT NULL;
        SELECT max(id) INTO last FROM unnest(page) AS id;
        COMMIT;
    END LOOP;
END $$;
