-- Markets as discovery found them, what is computed about them, and when discovery last ended.
-- Times are UTC milliseconds. Rows are never deleted: a market that left becomes inactive.

CREATE TABLE coins (
    exchange text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    base text NOT NULL,
    quote text COLLATE "C" NOT NULL,
    launched_ms bigint NOT NULL DEFAULT 0,      -- 0: not known
    active boolean NOT NULL DEFAULT true,       -- listed when discovery last looked
    enabled boolean NOT NULL DEFAULT true,      -- the operator's choice; discovery keeps it
    turnover_24h double precision,              -- quote units; null: not known
    first_seen_ms bigint NOT NULL,
    last_seen_ms bigint NOT NULL,
    PRIMARY KEY (exchange, symbol)
);

-- No reference to coins: a collection may know markets that a new database does not know yet.
CREATE TABLE coin_metadata (
    exchange text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    hurst double precision,
    entropy double precision,
    realised_volatility double precision,
    other jsonb NOT NULL DEFAULT '{}',          -- further numbers by name
    computed_at_ms bigint NOT NULL,
    PRIMARY KEY (exchange, symbol, timeframe)
);

CREATE TABLE discoveries (
    exchange text COLLATE "C" PRIMARY KEY,
    finished_ms bigint NOT NULL,
    found integer NOT NULL
);
