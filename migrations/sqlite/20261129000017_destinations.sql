-- Destinations: what operators, or receivers that are gone, have paused.

-- Destinations that are or were paused. The configuration says which destinations there are.
CREATE TABLE "NAMESPACE.destinations" (
    -- The name in the configuration.
    name TEXT NOT NULL,
    -- When it was paused; none while deliveries are made.
    paused_at TEXT,
    -- Who paused it: an operator, or longshore-integrate after an answer of 410.
    paused_by TEXT,
    -- Why it was paused.
    paused_why TEXT,
    CONSTRAINT destinations_pkey PRIMARY KEY (name),
    CONSTRAINT destinations_paused_known
        CHECK ((paused_at IS NOT NULL) = (paused_by IS NOT NULL AND paused_why IS NOT NULL))
) STRICT;
