-- Where a process runs, so that one that starts at the same place can tell at
-- once that it is gone.
ALTER TABLE app_instances ADD COLUMN home text NOT NULL DEFAULT '', ADD COLUMN pid int NOT NULL DEFAULT 0;
