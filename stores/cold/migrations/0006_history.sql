-- additive: the release before works beside these tables; it neither reads nor writes them.
-- The record: every closed candle, open interest and funding settlement, and since when each value
-- is known. Times are UTC milliseconds. `t` is the open time of a candle, the time of a snapshot,
-- the time of a settlement. `known_at` is the `updated_at` of the document that first had the
-- value. Texts of the type json are ASCII, with escapes, as in 0005.

CREATE TABLE history_series (
    series_id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    exchange text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('candles', 'open_interest', 'funding')),
    interval_ms bigint NOT NULL CHECK (interval_ms > 0),  -- open interest 300000, funding 28800000
    UNIQUE (exchange, symbol, kind, interval_ms)
);

-- What came lately. A value is in one place only: here, or in a chunk.
CREATE TABLE history_recent (
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume double precision NOT NULL,
    turnover double precision NOT NULL,
    t bigint NOT NULL,
    known_at bigint NOT NULL,
    series_id integer NOT NULL,
    PRIMARY KEY (t, series_id)                  -- t first: what comes together lies together
);

CREATE TABLE history_recent_points (            -- open interest and funding
    value double precision NOT NULL,
    t bigint NOT NULL,
    known_at bigint NOT NULL,
    series_id integer NOT NULL,
    PRIMARY KEY (t, series_id)
);

-- Rows leave after a day: a vacuum of those that came would only write their pages once more.
ALTER TABLE history_recent SET (autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE history_recent_points SET (autovacuum_vacuum_insert_threshold = -1);

-- Up to 576 instants of a series in one row. Of each column name_int2, name_int4 and name_int8 one
-- holds a number for each instant, the narrowest that can; the others are null. Number i, from 1:
--   t        = first_t + step_ms * steps[i], and step_ms * (i - 1) where all three steps are null
--   known_at = known_base + (t, where known_int... are not all null, and known[i])
--   close    = (close_base + close[i]) / 10^price_decimals
--   open, high, low = (close_base + close[i] + open[i] ...) / 10^price_decimals
--   volume   = volume[i] / 10^volume_decimals, turnover the same
-- as double precision, which gives back every bit. Where decimals are null, the values are as they
-- are in open_float8, high_float8, low_float8 and close_float8, volume_float8, turnover_float8.
CREATE TABLE history_chunks (
    series_id integer NOT NULL,
    slot integer NOT NULL,                      -- t / (interval_ms * 576)
    format smallint NOT NULL,                   -- 1: as described here
    n smallint NOT NULL,
    first_t bigint NOT NULL,
    last_t bigint NOT NULL,
    step_ms bigint NOT NULL,
    newest_known_at bigint NOT NULL,
    checksum bigint NOT NULL,                   -- CRC-32 of all t, all values and all known_at
    known_base bigint NOT NULL,
    close_base bigint NOT NULL,
    price_decimals smallint,
    volume_decimals smallint,
    turnover_decimals smallint,
    steps_int2 smallint[], steps_int4 integer[], steps_int8 bigint[],
    known_int2 smallint[], known_int4 integer[], known_int8 bigint[],
    open_int2 smallint[], open_int4 integer[], open_int8 bigint[], open_float8 double precision[],
    high_int2 smallint[], high_int4 integer[], high_int8 bigint[], high_float8 double precision[],
    low_int2 smallint[], low_int4 integer[], low_int8 bigint[], low_float8 double precision[],
    close_int2 smallint[], close_int4 integer[], close_int8 bigint[],
    close_float8 double precision[],
    volume_int2 smallint[], volume_int4 integer[], volume_int8 bigint[],
    volume_float8 double precision[],
    turnover_int2 smallint[], turnover_int4 integer[], turnover_int8 bigint[],
    turnover_float8 double precision[],
    PRIMARY KEY (series_id, slot)
);

-- More of a row stays in its page than by default (2 kB): fewer pages to read, less to log.
ALTER TABLE history_chunks SET (toast_tuple_target = 4080);

-- The same for one value: value = (value_base + value[i]) / 10^value_decimals.
CREATE TABLE history_point_chunks (
    series_id integer NOT NULL,
    slot integer NOT NULL,
    format smallint NOT NULL,
    n smallint NOT NULL,
    first_t bigint NOT NULL,
    last_t bigint NOT NULL,
    step_ms bigint NOT NULL,
    newest_known_at bigint NOT NULL,
    checksum bigint NOT NULL,
    known_base bigint NOT NULL,
    value_base bigint NOT NULL,
    value_decimals smallint,
    steps_int2 smallint[], steps_int4 integer[], steps_int8 bigint[],
    known_int2 smallint[], known_int4 integer[], known_int8 bigint[],
    value_int2 smallint[], value_int4 integer[], value_int8 bigint[],
    value_float8 double precision[],
    PRIMARY KEY (series_id, slot)
);

ALTER TABLE history_point_chunks SET (toast_tuple_target = 4080);

-- Superseded and removed values: each was what was known from known_from on, until known_to.
CREATE TABLE history_revisions (
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume double precision NOT NULL,
    turnover double precision NOT NULL,
    t bigint NOT NULL,
    known_from bigint NOT NULL,
    known_to bigint NOT NULL,
    series_id integer NOT NULL,
    PRIMARY KEY (series_id, t, known_from)
);

CREATE TABLE history_point_revisions (
    value double precision NOT NULL,
    t bigint NOT NULL,
    known_from bigint NOT NULL,
    known_to bigint NOT NULL,
    series_id integer NOT NULL,
    PRIMARY KEY (series_id, t, known_from)
);

-- The cursor of the hand-over: the newest version of each document that is stored.
CREATE TABLE history_stored (
    document text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    updated_at bigint NOT NULL,
    stored_at bigint NOT NULL
);

CREATE TABLE history_universes (
    universe_id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    hash text COLLATE "C" NOT NULL UNIQUE,
    markets json NOT NULL
);

-- One row for each version of a document: what is needed to tell it as it was.
CREATE TABLE history_publishes (
    document text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    updated_at bigint NOT NULL,
    as_of bigint NOT NULL,
    first_open_time bigint,                     -- of the window
    candles integer,                            -- of the window
    funding_updated_at bigint,                  -- of the funding that it used
    universe_id integer,
    missing json,
    stale json,
    PRIMARY KEY (document, version)
);
CREATE INDEX history_publishes_by_time ON history_publishes (document, updated_at);

-- The entries that the hot store handed over, as they came; kept JOURNAL_DAYS.
CREATE TABLE history_journal (
    document text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    updated_at bigint NOT NULL,
    entry bytea NOT NULL,
    PRIMARY KEY (document, version)
);
ALTER TABLE history_journal ALTER entry SET STORAGE EXTERNAL;  -- it is compressed
CREATE INDEX history_journal_by_time ON history_journal (updated_at);

-- What was asked for and answered, holes included: nothing more is to be had of it.
CREATE TABLE history_coverage (
    series_id integer NOT NULL,
    from_t bigint NOT NULL,
    to_t bigint NOT NULL,                       -- exclusive
    source text COLLATE "C" NOT NULL,
    checked_at bigint NOT NULL,
    PRIMARY KEY (series_id, from_t)
);
