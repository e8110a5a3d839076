-- additive: the release before works beside these views and functions; it does not use them.
-- The record in plain rows, for psql, Grafana, pandas and whatever reads SQL (docs/history.md).
-- A name that the database has already, as a relation, a type or a function of others, is left as
-- it is, and a warning says so; run again later, this file makes what is still missing.

-- The chunks of 0006, instant by instant. `slot` is the chunks' key beside series_id.
CREATE OR REPLACE VIEW history_chunk_candles AS
SELECT c.series_id, c.slot, i.t,
    CASE WHEN c.price_decimals IS NULL THEN u.open_raw
        ELSE (c.close_base + u.close + u.open)::float8 / p.price END AS open,
    CASE WHEN c.price_decimals IS NULL THEN u.high_raw
        ELSE (c.close_base + u.close + u.high)::float8 / p.price END AS high,
    CASE WHEN c.price_decimals IS NULL THEN u.low_raw
        ELSE (c.close_base + u.close + u.low)::float8 / p.price END AS low,
    CASE WHEN c.price_decimals IS NULL THEN u.close_raw
        ELSE (c.close_base + u.close)::float8 / p.price END AS close,
    CASE WHEN c.volume_decimals IS NULL THEN u.volume_raw
        ELSE u.volume::float8 / p.volume END AS volume,
    CASE WHEN c.turnover_decimals IS NULL THEN u.turnover_raw
        ELSE u.turnover::float8 / p.turnover END AS turnover,
    coalesce(c.known_base + i.t + u.known, c.known_base) AS known_at
FROM history_chunks AS c
-- A text such as 1e8 is read exactly; powers that are computed may not be.
CROSS JOIN LATERAL (SELECT ('1e' || c.price_decimals)::float8 AS price,
    ('1e' || c.volume_decimals)::float8 AS volume,
    ('1e' || c.turnover_decimals)::float8 AS turnover OFFSET 0) AS p
CROSS JOIN LATERAL unnest(
    coalesce(c.steps_int2::int8[], c.steps_int4::int8[], c.steps_int8),
    coalesce(c.known_int2::int8[], c.known_int4::int8[], c.known_int8),
    coalesce(c.open_int2::int8[], c.open_int4::int8[], c.open_int8),
    coalesce(c.high_int2::int8[], c.high_int4::int8[], c.high_int8),
    coalesce(c.low_int2::int8[], c.low_int4::int8[], c.low_int8),
    coalesce(c.close_int2::int8[], c.close_int4::int8[], c.close_int8),
    coalesce(c.volume_int2::int8[], c.volume_int4::int8[], c.volume_int8),
    coalesce(c.turnover_int2::int8[], c.turnover_int4::int8[], c.turnover_int8),
    c.open_float8, c.high_float8, c.low_float8, c.close_float8,
    c.volume_float8, c.turnover_float8
) WITH ORDINALITY AS u(step, known, open, high, low, close, volume, turnover,
    open_raw, high_raw, low_raw, close_raw, volume_raw, turnover_raw, number)
CROSS JOIN LATERAL (SELECT c.first_t + c.step_ms * coalesce(u.step, u.number - 1) AS t) AS i;

CREATE OR REPLACE VIEW history_chunk_points AS
SELECT c.series_id, c.slot, i.t,
    CASE WHEN c.value_decimals IS NULL THEN u.value_raw
        ELSE (c.value_base + u.value)::float8 / p.value END AS value,
    coalesce(c.known_base + i.t + u.known, c.known_base) AS known_at
FROM history_point_chunks AS c
CROSS JOIN LATERAL (SELECT ('1e' || c.value_decimals)::float8 AS value OFFSET 0) AS p
CROSS JOIN LATERAL unnest(
    coalesce(c.steps_int2::int8[], c.steps_int4::int8[], c.steps_int8),
    coalesce(c.known_int2::int8[], c.known_int4::int8[], c.known_int8),
    coalesce(c.value_int2::int8[], c.value_int4::int8[], c.value_int8),
    c.value_float8
) WITH ORDINALITY AS u(step, known, value, value_raw, number)
CROSS JOIN LATERAL (SELECT c.first_t + c.step_ms * coalesce(u.step, u.number - 1) AS t) AS i;

-- The series of candles with the names of their timeframes, such as 5m, 4h and 1d.
CREATE OR REPLACE VIEW history_candle_series AS
SELECT series_id, exchange, symbol, interval_ms,
    CASE WHEN interval_ms % 86400000 = 0 THEN interval_ms / 86400000 || 'd'
        WHEN interval_ms % 3600000 = 0 THEN interval_ms / 3600000 || 'h'
        ELSE interval_ms / 60000 || 'm' END AS timeframe
FROM history_series WHERE kind = 'candles';

-- A moment in UTC ms, rounded up: a moment before the first ms after it is before that too.
CREATE OR REPLACE FUNCTION history_ms(moment timestamptz) RETURNS bigint LANGUAGE sql STABLE AS
$$ SELECT ceil(round((extract(epoch FROM moment) * 1000000)::numeric) / 1000)::bigint $$;

DO $views$
DECLARE
    wanted text;
    free text[] := '{}';  -- the names that are to be had
    -- In functions, names are looked up when they are called, by a path that may be another.
    home text := quote_ident(current_schema()) || '.';
    points text := $body$
SELECT s.exchange, s.symbol, to_timestamp(c.t / 1000::float8), c.t, c.value,
    to_timestamp(c.known_at / 1000::float8), c.known_at
FROM @history_series AS s JOIN @history_chunk_points AS c USING (series_id)
WHERE s.kind = '#' AND ($1 IS NULL OR s.exchange = $1) AND ($2 IS NULL OR s.symbol = $2)
    AND c.slot >= coalesce(@history_ms($3), 0) / (s.interval_ms * 576)
    AND c.slot <= coalesce(@history_ms($4), 9000000000000) / (s.interval_ms * 576)
    AND c.t >= coalesce(@history_ms($3), 0) AND c.t < coalesce(@history_ms($4), 9000000000000)
    AND ($5 IS NULL OR c.known_at < @history_ms($5 + interval '1 microsecond'))
UNION ALL
SELECT s.exchange, s.symbol, to_timestamp(r.t / 1000::float8), r.t, r.value,
    to_timestamp(r.known_at / 1000::float8), r.known_at
FROM @history_series AS s JOIN @history_recent_points AS r USING (series_id)
WHERE s.kind = '#' AND ($1 IS NULL OR s.exchange = $1) AND ($2 IS NULL OR s.symbol = $2)
    AND r.t >= coalesce(@history_ms($3), 0) AND r.t < coalesce(@history_ms($4), 9000000000000)
    AND ($5 IS NULL OR r.known_at < @history_ms($5 + interval '1 microsecond'))
UNION ALL
SELECT s.exchange, s.symbol, to_timestamp(v.t / 1000::float8), v.t, v.value,
    to_timestamp(v.known_from / 1000::float8), v.known_from
FROM @history_series AS s JOIN @history_point_revisions AS v USING (series_id)
WHERE s.kind = '#' AND $5 IS NOT NULL
    AND ($1 IS NULL OR s.exchange = $1) AND ($2 IS NULL OR s.symbol = $2)
    AND v.t >= coalesce(@history_ms($3), 0) AND v.t < coalesce(@history_ms($4), 9000000000000)
    AND v.known_from < @history_ms($5 + interval '1 microsecond')
    AND v.known_to >= @history_ms($5 + interval '1 microsecond')
$body$;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['candles', 'open_interest', 'funding_rates', 'cached_ohlc',
        'cached_market_data', 'schedule_config'] LOOP
        IF to_regclass(wanted) IS NULL AND to_regtype(wanted) IS NULL THEN
            free := free || wanted;
        ELSIF coalesce(obj_description(to_regclass(wanted), 'pg_class'), '') NOT LIKE 'Perpcache:%'
        THEN
            RAISE WARNING 'the name % is taken in this database: there is no view of it', wanted;
        END IF;
    END LOOP;
    FOREACH wanted IN ARRAY ARRAY['candles_between', 'open_interest_between',
        'funding_rates_between'] LOOP
        IF to_regproc(wanted) IS NULL
            AND NOT EXISTS (SELECT FROM pg_proc WHERE proname = wanted) THEN
            free := free || wanted;
        ELSIF NOT EXISTS (SELECT FROM pg_proc WHERE proname = wanted
            AND obj_description(oid, 'pg_proc') LIKE 'Perpcache:%') THEN
            RAISE WARNING 'the name % is taken in this database: there is no such function of ours',
                wanted;
        END IF;
    END LOOP;

    IF 'candles' = ANY (free) THEN
        CREATE VIEW candles AS
        SELECT s.exchange, s.symbol, s.timeframe,
            to_timestamp(c.t / 1000::float8) AS open_time, c.t AS open_time_ms,
            c.open, c.high, c.low, c.close, c.volume, c.turnover,
            to_timestamp(c.known_at / 1000::float8) AS known_at, c.known_at AS known_at_ms
        FROM history_candle_series AS s JOIN history_chunk_candles AS c USING (series_id)
        UNION ALL
        SELECT s.exchange, s.symbol, s.timeframe,
            to_timestamp(r.t / 1000::float8), r.t,
            r.open, r.high, r.low, r.close, r.volume, r.turnover,
            to_timestamp(r.known_at / 1000::float8), r.known_at
        FROM history_candle_series AS s JOIN history_recent AS r USING (series_id);
        COMMENT ON VIEW candles IS 'Perpcache: closed candles as they are known now';
    END IF;

    IF 'open_interest' = ANY (free) THEN
        CREATE VIEW open_interest AS
        SELECT s.exchange, s.symbol,
            to_timestamp(c.t / 1000::float8) AS time, c.t AS time_ms, c.value AS open_interest,
            to_timestamp(c.known_at / 1000::float8) AS known_at, c.known_at AS known_at_ms
        FROM history_series AS s JOIN history_chunk_points AS c USING (series_id)
        WHERE s.kind = 'open_interest'
        UNION ALL
        SELECT s.exchange, s.symbol,
            to_timestamp(r.t / 1000::float8), r.t, r.value,
            to_timestamp(r.known_at / 1000::float8), r.known_at
        FROM history_series AS s JOIN history_recent_points AS r USING (series_id)
        WHERE s.kind = 'open_interest';
        COMMENT ON VIEW open_interest IS 'Perpcache: snapshots of open interest, in base units';
    END IF;

    IF 'funding_rates' = ANY (free) THEN
        CREATE VIEW funding_rates AS
        SELECT s.exchange, s.symbol,
            to_timestamp(c.t / 1000::float8) AS funding_time, c.t AS funding_time_ms,
            c.value AS funding_rate,
            to_timestamp(c.known_at / 1000::float8) AS known_at, c.known_at AS known_at_ms
        FROM history_series AS s JOIN history_chunk_points AS c USING (series_id)
        WHERE s.kind = 'funding'
        UNION ALL
        SELECT s.exchange, s.symbol,
            to_timestamp(r.t / 1000::float8), r.t, r.value,
            to_timestamp(r.known_at / 1000::float8), r.known_at
        FROM history_series AS s JOIN history_recent_points AS r USING (series_id)
        WHERE s.kind = 'funding';
        COMMENT ON VIEW funding_rates IS 'Perpcache: funding settlements, rates as fractions';
    END IF;

    -- A span of time of `candles`: only the chunks that it touches are read. Null stands for all
    -- exchanges, symbols or timeframes, and for a span without a beginning or an end; "to" is
    -- exclusive. With "as_of" the answer is what was known then.
    IF 'candles_between' = ANY (free) THEN
        EXECUTE replace($function$
        CREATE FUNCTION candles_between(exchange text, symbol text, timeframe text,
            "from" timestamptz, "to" timestamptz, as_of timestamptz DEFAULT NULL)
        RETURNS TABLE (exchange text, symbol text, timeframe text,
            open_time timestamptz, open_time_ms bigint,
            open float8, high float8, low float8, close float8, volume float8, turnover float8,
            known_at timestamptz, known_at_ms bigint)
        LANGUAGE sql STABLE ROWS 10000 AS $body$
SELECT s.exchange, s.symbol, s.timeframe, to_timestamp(c.t / 1000::float8), c.t,
    c.open, c.high, c.low, c.close, c.volume, c.turnover,
    to_timestamp(c.known_at / 1000::float8), c.known_at
FROM @history_candle_series AS s JOIN @history_chunk_candles AS c USING (series_id)
WHERE ($1 IS NULL OR s.exchange = $1) AND ($2 IS NULL OR s.symbol = $2)
    AND ($3 IS NULL OR s.timeframe = $3)
    AND c.slot >= coalesce(@history_ms($4), 0) / (s.interval_ms * 576)
    AND c.slot <= coalesce(@history_ms($5), 9000000000000) / (s.interval_ms * 576)
    AND c.t >= coalesce(@history_ms($4), 0) AND c.t < coalesce(@history_ms($5), 9000000000000)
    AND ($6 IS NULL OR c.known_at < @history_ms($6 + interval '1 microsecond'))
UNION ALL
SELECT s.exchange, s.symbol, s.timeframe, to_timestamp(r.t / 1000::float8), r.t,
    r.open, r.high, r.low, r.close, r.volume, r.turnover,
    to_timestamp(r.known_at / 1000::float8), r.known_at
FROM @history_candle_series AS s JOIN @history_recent AS r USING (series_id)
WHERE ($1 IS NULL OR s.exchange = $1) AND ($2 IS NULL OR s.symbol = $2)
    AND ($3 IS NULL OR s.timeframe = $3)
    AND r.t >= coalesce(@history_ms($4), 0) AND r.t < coalesce(@history_ms($5), 9000000000000)
    AND ($6 IS NULL OR r.known_at < @history_ms($6 + interval '1 microsecond'))
UNION ALL
SELECT s.exchange, s.symbol, s.timeframe, to_timestamp(v.t / 1000::float8), v.t,
    v.open, v.high, v.low, v.close, v.volume, v.turnover,
    to_timestamp(v.known_from / 1000::float8), v.known_from
FROM @history_candle_series AS s JOIN @history_revisions AS v USING (series_id)
WHERE $6 IS NOT NULL AND ($1 IS NULL OR s.exchange = $1) AND ($2 IS NULL OR s.symbol = $2)
    AND ($3 IS NULL OR s.timeframe = $3)
    AND v.t >= coalesce(@history_ms($4), 0) AND v.t < coalesce(@history_ms($5), 9000000000000)
    AND v.known_from < @history_ms($6 + interval '1 microsecond')
    AND v.known_to >= @history_ms($6 + interval '1 microsecond')
$body$
        $function$, '@', home);
        COMMENT ON FUNCTION candles_between IS 'Perpcache: a span of time of candles';
    END IF;

    IF 'open_interest_between' = ANY (free) THEN
        EXECUTE replace(replace(replace($function$
        CREATE FUNCTION open_interest_between(exchange text, symbol text,
            "from" timestamptz, "to" timestamptz, as_of timestamptz DEFAULT NULL)
        RETURNS TABLE (exchange text, symbol text, "time" timestamptz, time_ms bigint,
            open_interest float8, known_at timestamptz, known_at_ms bigint)
        LANGUAGE sql STABLE ROWS 10000 AS $body$ % $body$
        $function$, '%', points), '@', home), '#', 'open_interest');
        COMMENT ON FUNCTION open_interest_between IS 'Perpcache: a span of time of open_interest';
    END IF;

    IF 'funding_rates_between' = ANY (free) THEN
        EXECUTE replace(replace(replace($function$
        CREATE FUNCTION funding_rates_between(exchange text, symbol text,
            "from" timestamptz, "to" timestamptz, as_of timestamptz DEFAULT NULL)
        RETURNS TABLE (exchange text, symbol text, funding_time timestamptz,
            funding_time_ms bigint, funding_rate float8, known_at timestamptz, known_at_ms bigint)
        LANGUAGE sql STABLE ROWS 10000 AS $body$ % $body$
        $function$, '%', points), '@', home), '#', 'funding');
        COMMENT ON FUNCTION funding_rates_between IS 'Perpcache: a span of time of funding_rates';
    END IF;

    -- The names that programs written for an earlier schema ask for.
    IF 'cached_ohlc' = ANY (free) THEN
        CREATE VIEW cached_ohlc AS
        SELECT s.symbol, s.timeframe AS interval, to_timestamp(c.t / 1000::float8) AS "timestamp",
            c.open, c.high, c.low, c.close, c.volume, s.exchange AS provider,
            to_timestamp(c.known_at / 1000::float8) AS fetched_at
        FROM history_candle_series AS s JOIN history_chunk_candles AS c USING (series_id)
        UNION ALL
        SELECT s.symbol, s.timeframe, to_timestamp(r.t / 1000::float8),
            r.open, r.high, r.low, r.close, r.volume, s.exchange,
            to_timestamp(r.known_at / 1000::float8)
        FROM history_candle_series AS s JOIN history_recent AS r USING (series_id);
        COMMENT ON VIEW cached_ohlc IS 'Perpcache: candles, by other names';
    END IF;

    -- Of each market the newest closed candle of its finest timeframe, and the 24 hours before its
    -- end. Markets that have no candle in the 24 hours before the newest one of all are left out.
    IF 'cached_market_data' = ANY (free) THEN
        CREATE VIEW cached_market_data AS
        WITH newest AS (
            SELECT coalesce((SELECT max(t) FROM history_recent),
                (SELECT max(last_t) FROM history_chunks)) - 86400000 AS after
        ), finest AS (
            SELECT DISTINCT ON (exchange, symbol) series_id, exchange, symbol, interval_ms
            FROM history_candle_series ORDER BY exchange, symbol, interval_ms
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
        COMMENT ON VIEW cached_market_data IS 'Perpcache: the last 24 hours of each market';
    END IF;

    -- What a worker does by itself and how far it is: the daily list of each exchange's markets.
    IF 'schedule_config' = ANY (free) THEN
        CREATE VIEW schedule_config AS
        SELECT 'discovery'::text AS name, exchange AS provider_id,
            'every_1_day'::text AS schedule_interval, true AS enabled,
            to_timestamp(finished_ms / 1000::float8) AS last_run,
            to_timestamp(finished_ms / 1000::float8) + interval '24 hours' AS next_run,
            NULL::integer AS on_time_count, NULL::integer AS late_count,
            NULL::integer AS skip_count
        FROM discoveries;
        COMMENT ON VIEW schedule_config IS 'Perpcache: what workers do by themselves';
    END IF;
END
$views$;
