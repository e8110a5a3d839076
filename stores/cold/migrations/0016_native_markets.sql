-- additive: the release before works beside this table; it neither reads nor writes it.
-- What an exchange calls a market, and how many coins one contract is, where that is not the symbol
-- and one coin.

CREATE TABLE native_markets (
    exchange text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    native text NOT NULL,
    contract_size double precision NOT NULL,
    PRIMARY KEY (exchange, symbol)
);
