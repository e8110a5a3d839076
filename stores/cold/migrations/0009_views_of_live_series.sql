-- additive: the release before works beside this view and function; it does not use them.
-- Run again later, as 0007 may be, this file changes nothing that is not of ours.

-- A moment in UTC ms, rounded up: a moment before the first ms after it is before that too.
-- Infinity is after all that is stored, -infinity before it.
CREATE OR REPLACE FUNCTION history_ms(moment timestamptz) RETURNS bigint LANGUAGE sql STABLE AS
$$ SELECT CASE WHEN isfinite(moment) IS NOT FALSE
        THEN ceil(round((extract(epoch FROM moment) * 1000000)::numeric) / 1000)::bigint
    WHEN moment > 'epoch' THEN 9000000000000 ELSE 0 END $$;

DO $view$
BEGIN
    -- Of each market the newest closed candle of its finest timeframe, and the 24 hours before its
    -- end. Series that have no candle in the 24 hours before the newest one of all are left out:
    -- those of markets that left, and of timeframes that are collected no more.
    IF obj_description(to_regclass('cached_market_data'), 'pg_class') LIKE 'Perpcache:%' THEN
        CREATE OR REPLACE VIEW cached_market_data AS
        WITH newest AS (
            SELECT coalesce((SELECT max(t) FROM history_recent),
                (SELECT max(last_t) FROM history_chunks)) - 86400000 AS after
        ), live AS (
            SELECT r.series_id FROM newest AS n JOIN history_recent AS r ON r.t > n.after
            UNION
            SELECT s.series_id FROM newest AS n CROSS JOIN history_candle_series AS s
            JOIN history_chunks AS c ON c.series_id = s.series_id
                AND c.slot >= n.after / (s.interval_ms * 576) AND c.last_t > n.after
        ), finest AS (
            SELECT DISTINCT ON (exchange, symbol) series_id, exchange, symbol, interval_ms
            FROM history_candle_series JOIN live USING (series_id)
            ORDER BY exchange, symbol, interval_ms
        ), day AS (
            SELECT f.exchange, f.symbol, f.interval_ms, c.t, c.open, c.high, c.low, c.close,
                c.turnover, c.known_at
            FROM newest AS n CROSS JOIN finest AS f JOIN history_chunk_candles AS c
                ON c.series_id = f.series_id AND c.slot >= n.after / (f.interval_ms * 576)
                AND c.t > n.after
            UNION ALL
            SELECT f.exchange, f.symbol, f.interval_ms, r.t, r.open, r.high, r.low, r.close,
                r.turnover, r.known_at
            FROM newest AS n CROSS JOIN finest AS f JOIN history_recent AS r
                ON r.series_id = f.series_id AND r.t > n.after
        ), ends AS (
            SELECT exchange, symbol, max(t) AS t FROM day GROUP BY exchange, symbol
        )
        SELECT d.symbol,
            max(d.close) FILTER (WHERE d.t = e.t) AS price,
            NULL::float8 AS market_cap,
            sum(d.turnover) AS volume_24h,
            (max(d.close) FILTER (WHERE d.t = e.t) / (array_agg(d.open ORDER BY d.t))[1] - 1) * 100
                AS change_24h,
            max(d.high) AS high_24h,
            min(d.low) AS low_24h,
            d.exchange AS provider,
            to_timestamp(max(d.known_at) FILTER (WHERE d.t = e.t) / 1000::float8) AS fetched_at
        FROM day AS d JOIN ends AS e USING (exchange, symbol)
        WHERE d.t > e.t - 86400000
        GROUP BY d.exchange, d.symbol;
    END IF;
END
$view$;
