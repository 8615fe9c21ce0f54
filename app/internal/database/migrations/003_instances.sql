-- Where a process runs: another one that starts in the same place can tell at once
-- that it has ended.
ALTER TABLE app_instances ADD COLUMN home text NOT NULL DEFAULT '', ADD COLUMN pid int NOT NULL DEFAULT 0;
