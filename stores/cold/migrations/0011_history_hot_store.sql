-- additive: the release before works beside this table; it does not use it.
-- The hot store whose publishes the record takes: the id that it has under journal:history:store,
-- and when it was noted (UTC ms). Without the row, the next one that has something is noted.
CREATE TABLE history_hot_store (
    is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one),
    store_id text COLLATE "C" NOT NULL,
    noted_at bigint NOT NULL
);
