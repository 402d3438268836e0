-- The embedded broker's file. A message is in `messages` once, and in one of two small tables that
-- say where: `waiting` for somebody, or `held` by a consumer. It changes its place, never itself.

-- One row: what every program that has this file open agrees on.
CREATE TABLE state (
    -- Of this schema.
    version INTEGER NOT NULL,
    -- The last id given to a message: microseconds since 1970, but never the same twice and never
    -- going back, whatever the clock on the wall does. So it may be ahead of that.
    clock INTEGER NOT NULL,
    -- Counts the changes of the topology.
    topology INTEGER NOT NULL
);

CREATE TABLE exchanges (
    name TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE queues (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    -- What it was declared with, a JSON object.
    arguments TEXT NOT NULL,
    -- How often a message may come back before it is dead-lettered; null: for ever.
    delivery_limit INTEGER
);

CREATE TABLE bindings (
    exchange TEXT NOT NULL,
    pattern TEXT NOT NULL,
    -- A queue or an exchange.
    target TEXT NOT NULL,
    to_queue INTEGER NOT NULL,
    PRIMARY KEY (exchange, pattern, target, to_queue)
) WITHOUT ROWID;

-- The programs that have this file open. Each holds the lock on a file of its own beside it.
CREATE TABLE owners (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- For people.
    name TEXT NOT NULL,
    -- The name of its lock file; null where the database is in memory.
    lock TEXT,
    -- Grows while the program lives.
    beat INTEGER NOT NULL
);

CREATE TABLE consumers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner INTEGER NOT NULL,
    queue INTEGER NOT NULL
);

CREATE TABLE messages (
    -- See `state`.
    id INTEGER PRIMARY KEY,
    routing_key TEXT NOT NULL,
    -- JSON, see properties.rs.
    properties TEXT NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE waiting (
    queue INTEGER NOT NULL,
    -- Its place in the queue: its id, or the last id that there was when its time came. Until then a place
    -- behind all others.
    place INTEGER NOT NULL,
    message INTEGER NOT NULL,
    -- How often it was given out and came back.
    returns INTEGER NOT NULL,
    -- When it is due by the clock on the wall; 0: it has its place.
    due INTEGER NOT NULL DEFAULT 0,
    -- How long it was to wait: never longer than that, whatever was done to the clock.
    delay INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (queue, place, message)
) WITHOUT ROWID;
-- What is due next.
CREATE INDEX waiting_due ON waiting (queue, due) WHERE due > 0;
-- What was told to wait by a clock that has been set back since.
CREATE INDEX waiting_since ON waiting (queue, due - delay) WHERE due > 0;

CREATE TABLE held (
    message INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    place INTEGER NOT NULL,
    returns INTEGER NOT NULL,
    consumer INTEGER NOT NULL
);

-- What streams keep.
CREATE TABLE history (
    -- The offset.
    id INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    routing_key TEXT NOT NULL,
    properties TEXT NOT NULL,
    body BLOB NOT NULL,
    -- When it was published, by the clock on the wall; null: as its id says.
    at INTEGER
);
-- To count and to find without reading bodies.
CREATE INDEX history_of_queue ON history (queue);

INSERT INTO state (version, clock, topology) VALUES (2, 0, 0);
