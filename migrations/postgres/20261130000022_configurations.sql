-- Configurations: which one each process runs with.

ALTER TABLE workers
    ADD COLUMN configuration text,
    ADD COLUMN configured_at timestamptz,
    ADD COLUMN told_at       timestamptz;
COMMENT ON TABLE workers IS 'Processes. Each tells now and then with which configuration it runs, and those that deliver tell while they have deliveries in hand.';
COMMENT ON COLUMN workers.started_at IS 'When it was heard of for the first time.';
COMMENT ON COLUMN workers.seen_at IS 'When it was heard of last as a process that delivers; 1970 for one that has not delivered yet.';
COMMENT ON COLUMN workers.configuration IS 'The hash of the configuration that it runs with.';
COMMENT ON COLUMN workers.configured_at IS 'Since when it runs with this configuration.';
COMMENT ON COLUMN workers.told_at IS 'When it told its configuration last.';
