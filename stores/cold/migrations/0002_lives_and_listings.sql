-- additive: the release before works beside these tables; it neither reads nor writes them.
-- What is known of each market's present life (market/lives.py), and how each exchange's list of
-- markets was last taken in. Times are UTC milliseconds.

CREATE TABLE market_lives (
    exchange text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    launched_ms bigint NOT NULL,                -- 0: not known
    since_ms bigint NOT NULL DEFAULT 0,         -- nothing from before belongs to it; 0: not known
    absent_from_ms bigint,                      -- the first list that lacked it; null: it is listed
    PRIMARY KEY (exchange, symbol)
);

INSERT INTO market_lives (exchange, symbol, launched_ms)
    SELECT exchange, symbol, launched_ms FROM coins;

CREATE TABLE listings (
    exchange text COLLATE "C" PRIMARY KEY,
    failures integer NOT NULL DEFAULT 0,        -- in a row
    failed_ms bigint,
    failure text,
    unconfirmed_ms bigint,                      -- when a list was first not believed
    unconfirmed text[],                         -- the markets that it would have removed
    refused text[] NOT NULL DEFAULT '{}'        -- names that the database cannot hold, escaped
);
