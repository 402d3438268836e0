-- Configurations: which one each process runs with.

-- The hash of the configuration that it runs with.
ALTER TABLE "NAMESPACE.workers" ADD COLUMN configuration TEXT;
-- Since when it runs with this configuration.
ALTER TABLE "NAMESPACE.workers" ADD COLUMN configured_at TEXT;
-- When it told its configuration last.
ALTER TABLE "NAMESPACE.workers" ADD COLUMN told_at TEXT;
