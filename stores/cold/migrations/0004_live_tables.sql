-- additive: the release before works beside these tables; it neither reads nor writes them.
-- What live collectors with the output `postgres` saw, one partition for each day in UTC, made and
-- dropped by stores/cold/live_partitions.py. `symbol` is the exchange's own name of the market,
-- `time` the exchange's; prices and sizes are exact, sizes in base units.

CREATE TABLE live_trades (
    exchange text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    time timestamptz NOT NULL,
    trade_id text COLLATE "C" NOT NULL,
    price numeric NOT NULL,
    size numeric NOT NULL,
    side text COLLATE "C",                      -- of the taker: buy or sell
    PRIMARY KEY (exchange, symbol, time, trade_id)
) PARTITION BY RANGE (time);

CREATE TABLE live_tickers (
    exchange text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    time timestamptz NOT NULL,
    last_price numeric,                         -- null: not told, as all that follow
    bid_price numeric,
    bid_size numeric,
    ask_price numeric,
    ask_size numeric,
    mark_price numeric,
    index_price numeric,
    funding_rate numeric,                       -- of the running period, predicted
    open_interest numeric,                      -- one-sided, base units
    volume_24h numeric,                         -- base units
    turnover_24h numeric,                       -- quote units
    other jsonb NOT NULL DEFAULT '{}',          -- what else was told, numbers as texts
    PRIMARY KEY (exchange, symbol, time)
) PARTITION BY RANGE (time);

CREATE TABLE live_books (
    exchange text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    time timestamptz NOT NULL,
    last_id bigint NOT NULL,                    -- the exchange's number of the last change; or -1
    bids numeric[] NOT NULL,                    -- {{price, size}, ...}, the best first
    asks numeric[] NOT NULL,
    PRIMARY KEY (exchange, symbol, time)
) PARTITION BY RANGE (time);
