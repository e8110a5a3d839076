-- additive: the release before works beside these tables and the column; it does not use them.
-- What backfills and imports bring into the record: from where, what was asked for, and what is
-- wanted. Times are UTC ms; ranges are from inclusive, to exclusive.

-- Which values of a series came from where, other than from documents: those of the range that are
-- known since known_at.
CREATE TABLE history_batches (
    series_id integer NOT NULL,
    from_t bigint NOT NULL,
    to_t bigint NOT NULL,
    known_at bigint NOT NULL,
    source text COLLATE "C" NOT NULL CHECK (source IN ('rest', 'archive', 'export')),
    PRIMARY KEY (series_id, from_t, known_at, source),
    CHECK (from_t < to_t)
);

-- On which grid the exchange was asked: of open interest every period has its own. 1: every instant.
ALTER TABLE history_coverage ADD COLUMN step_ms bigint NOT NULL DEFAULT 1 CHECK (step_ms > 0);

-- Files of exchanges' archives that were imported.
CREATE TABLE history_files (
    name text COLLATE "C" PRIMARY KEY,
    sha256 text COLLATE "C" NOT NULL,
    etag text COLLATE "C",
    size bigint NOT NULL,                       -- bytes
    rows bigint NOT NULL,                       -- that it has
    imported_at bigint NOT NULL
);

-- What was asked for by `backfill`. Texts of the type json are ASCII, with escapes, as in 0005.
CREATE TABLE history_backfills (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    wanted json NOT NULL,
    requested_at bigint NOT NULL,
    started_at bigint,
    finished_at bigint,
    state text COLLATE "C" NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'complete', 'failed', 'cancelled')),
    done bigint NOT NULL DEFAULT 0,             -- of `total` requests
    total bigint NOT NULL DEFAULT 0,
    requests bigint NOT NULL DEFAULT 0,         -- that were sent
    rows bigint NOT NULL DEFAULT 0,             -- that were added or corrected
    seconds_left bigint,                        -- by its last report
    failures json,                              -- causes, by market or exchange
    error text
);
CREATE INDEX history_backfills_open ON history_backfills (id) WHERE state IN ('queued', 'running');

-- Holes, as the last look at their market has found them. Those of a series do not overlap.
CREATE TABLE history_holes (
    series_id integer NOT NULL,
    from_t bigint NOT NULL,
    to_t bigint NOT NULL,
    step_ms bigint NOT NULL CHECK (step_ms > 0),  -- of the grid that it was looked for on
    state text COLLATE "C" NOT NULL
        CHECK (state IN ('not_asked', 'asked', 'exchange', 'out_of_reach', 'document')),
    first_asked_at bigint,                      -- when the exchange first answered for it, if it did
    asked_at bigint,                            -- when it last did
    PRIMARY KEY (series_id, from_t),
    CHECK (from_t < to_t)
);

-- When each market was last looked at for holes.
CREATE TABLE history_looks (
    exchange text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    looked_at bigint NOT NULL,
    PRIMARY KEY (exchange, symbol)
);
