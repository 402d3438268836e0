-- Breakers: destinations that fail so often that nothing more is sent there for a while.

ALTER TABLE destinations
    ADD COLUMN breaker_opened_at timestamptz,
    ADD COLUMN breaker_why       text,
    ADD COLUMN breaker_probe_at  timestamptz,
    ADD COLUMN breaker_closed_at timestamptz,
    ADD CONSTRAINT destinations_breaker_known
        CHECK ((breaker_opened_at IS NOT NULL) = (breaker_why IS NOT NULL AND breaker_probe_at IS NOT NULL));
COMMENT ON TABLE destinations IS 'Destinations that are or were paused, or whose breaker is or was open. The configuration says which destinations there are.';
COMMENT ON COLUMN destinations.breaker_opened_at IS 'When its breaker opened; none while it is closed.';
COMMENT ON COLUMN destinations.breaker_why IS 'The last failure of a delivery that opened it, or kept it open.';
COMMENT ON COLUMN destinations.breaker_probe_at IS 'From when on the next delivery may be made, as a probe.';
COMMENT ON COLUMN destinations.breaker_closed_at IS 'When it closed last.';
