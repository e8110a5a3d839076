-- additive: the release before works beside this table; it neither reads nor writes it.
-- Which markets each exchange listed when, by the lists that were believed. Times are UTC ms.

CREATE TABLE history_listings (
    exchange text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    base text NOT NULL,
    quote text COLLATE "C" NOT NULL,
    launched_ms bigint NOT NULL,                -- 0: not known
    listed_from bigint NOT NULL,                -- the first list that had it
    listed_to bigint,                           -- the first that lacked it; null: it is listed
    PRIMARY KEY (exchange, symbol, listed_from)
);

-- Of the time before, the present or last listing of each market is known.
INSERT INTO history_listings
    SELECT c.exchange, c.symbol, c.base, c.quote, c.launched_ms,
        greatest(c.first_seen_ms, coalesce(l.since_ms, 0)),
        CASE WHEN c.active THEN NULL ELSE greatest(coalesce(l.absent_from_ms, c.last_seen_ms + 1),
            c.first_seen_ms, coalesce(l.since_ms, 0)) END
    FROM coins AS c LEFT JOIN market_lives AS l USING (exchange, symbol);
