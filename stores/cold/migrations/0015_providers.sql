-- additive: the release before works beside these tables; it neither reads nor writes them.
-- What providers told, and how they did. Times are UTC ms: `timestamp` is the provider's own or, where
-- it gives none, when it was fetched; `known_at` is when the row was stored. Money is numeric.

CREATE TABLE market_prices (
    symbol text COLLATE "C" NOT NULL,           -- our asset id: btc
    price_usd numeric,                          -- null where quote is not USD
    source text COLLATE "C" NOT NULL,           -- the resource
    timestamp bigint NOT NULL,
    quote text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,             -- spot, perp_last, mark, index, aggregate
    price numeric NOT NULL,                     -- in quote
    volume_24h numeric,
    change_24h numeric,                         -- a fraction
    market_cap numeric,
    stated boolean NOT NULL,                    -- whether timestamp is the provider's
    known_at bigint NOT NULL,
    PRIMARY KEY (symbol, quote, kind, timestamp, source)
);
CREATE INDEX market_prices_known ON market_prices (known_at);

CREATE TABLE news_articles (
    id text COLLATE "C" PRIMARY KEY,            -- SHA-256 of the canonical URL
    source text NOT NULL,                       -- the publisher
    url text NOT NULL,
    title text NOT NULL,
    summary text NOT NULL,
    published_at bigint,
    updated_at bigint,
    authors json NOT NULL,
    assets json NOT NULL,
    language text COLLATE "C" NOT NULL,
    via json NOT NULL,
    known_at bigint NOT NULL,
    changed_at bigint NOT NULL
);
CREATE INDEX news_articles_known ON news_articles (known_at, id);

CREATE TABLE sentiment_metrics (
    metric text COLLATE "C" NOT NULL,
    asset text COLLATE "C" NOT NULL,            -- or MARKET
    timestamp bigint NOT NULL,
    value numeric NOT NULL,
    scale_min numeric NOT NULL,
    scale_max numeric NOT NULL,
    label text,
    source text COLLATE "C" NOT NULL,
    known_at bigint NOT NULL,
    PRIMARY KEY (metric, asset, timestamp)
);
CREATE INDEX sentiment_metrics_known ON sentiment_metrics (known_at);

CREATE TABLE gas_prices (
    chain text COLLATE "C" NOT NULL,
    timestamp bigint NOT NULL,
    source text COLLATE "C" NOT NULL,
    block bigint,
    fees json NOT NULL,                         -- the fields of GasPrice, integers as text
    known_at bigint NOT NULL,
    PRIMARY KEY (chain, timestamp, source)
);
CREATE INDEX gas_prices_known ON gas_prices (known_at);

CREATE TABLE blockchain_stats (
    chain text COLLATE "C" NOT NULL,
    timestamp bigint NOT NULL,
    source text COLLATE "C" NOT NULL,
    height bigint,
    head_time bigint,
    metrics json NOT NULL,                      -- name: {"value": text, "unit": text}
    known_at bigint NOT NULL,
    PRIMARY KEY (chain, timestamp, source)
);
CREATE INDEX blockchain_stats_known ON blockchain_stats (known_at);

CREATE TABLE whale_transactions (
    chain text COLLATE "C" NOT NULL,
    tx_hash text COLLATE "C" NOT NULL,
    index integer NOT NULL,                     -- of the log or output
    type text COLLATE "C" NOT NULL,
    asset text COLLATE "C" NOT NULL,
    contract text COLLATE "C",
    amount_raw numeric NOT NULL,
    decimals integer NOT NULL,
    value_usd numeric,
    price_source text COLLATE "C",
    senders json NOT NULL,
    receivers json NOT NULL,
    sender_owner text,
    receiver_owner text,
    block bigint,
    timestamp bigint NOT NULL,
    confirmed boolean NOT NULL,
    source text COLLATE "C" NOT NULL,
    known_at bigint NOT NULL,
    PRIMARY KEY (chain, tx_hash, index)
);
CREATE INDEX whale_transactions_time ON whale_transactions (timestamp);
CREATE INDEX whale_transactions_known ON whale_transactions (known_at);

-- How far whale detection has read each chain.
CREATE TABLE whale_cursor (
    chain text COLLATE "C" PRIMARY KEY,
    block bigint NOT NULL,
    block_hash text COLLATE "C",
    changed_at bigint NOT NULL
);

-- What an operator has set, beside the registry; state is null where nothing was set.
CREATE TABLE providers (
    id text COLLATE "C" PRIMARY KEY,            -- of a resource
    enabled boolean,
    last_answer_at bigint,
    last_error text,
    changed_at bigint NOT NULL,
    changed_by text COLLATE "C" NOT NULL
);

CREATE SEQUENCE connection_attempts_id;
CREATE TABLE connection_attempts (
    id bigint PRIMARY KEY DEFAULT nextval('connection_attempts_id'),
    resource text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    outcome text COLLATE "C" NOT NULL,          -- ok, or the error class
    status integer,
    ms integer NOT NULL,
    message text,                               -- redacted
    host text COLLATE "C" NOT NULL
);
CREATE INDEX connection_attempts_at ON connection_attempts (at);

CREATE TABLE rate_limit_usage (
    provider text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,              -- fingerprint, or none
    window_s integer NOT NULL,
    window_start bigint NOT NULL,
    used bigint NOT NULL,
    quantity bigint NOT NULL,
    changed_at bigint NOT NULL,
    PRIMARY KEY (provider, key, window_s, window_start)
);
