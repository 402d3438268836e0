-- Breakers: destinations that fail so often that nothing more is sent there for a while.

-- When its breaker opened; none while it is closed.
ALTER TABLE "NAMESPACE.destinations" ADD COLUMN breaker_opened_at TEXT;
-- The last failure of a delivery that opened it, or kept it open.
ALTER TABLE "NAMESPACE.destinations" ADD COLUMN breaker_why TEXT;
-- From when on the next delivery may be made, as a probe.
ALTER TABLE "NAMESPACE.destinations" ADD COLUMN breaker_probe_at TEXT;
-- When it closed last.
ALTER TABLE "NAMESPACE.destinations" ADD COLUMN breaker_closed_at TEXT;
