-- additive: the release before works beside this table; it leaves damaged chunks where they are.
-- Chunks that no longer held what was stored, as they were found. Their slots are empty since then.
-- Times are UTC ms; from_t is inclusive, to_t exclusive.
CREATE TABLE history_damaged_chunks (
    series_id integer NOT NULL,
    slot integer NOT NULL,
    from_t bigint NOT NULL,
    to_t bigint NOT NULL,
    n integer NOT NULL,                         -- rows that it had, by what it tells
    error text COLLATE "C" NOT NULL,            -- ASCII
    found_at bigint NOT NULL,
    chunk json NOT NULL                         -- the row
);
CREATE INDEX history_damaged_chunks_of_series ON history_damaged_chunks (series_id, slot);
