"""Names of Binance's streams: what each means, and on which route it delivers."""

import re
from typing import Final, NamedTuple

MARKET: Final = "market"
PUBLIC: Final = "public"

# stream kind after the @ -> route; the update speeds are part of some names.
_ROUTES: Final = {
    "kline": MARKET, "continuousKline": MARKET, "aggTrade": MARKET, "markPrice": MARKET,
    "miniTicker": MARKET, "ticker": MARKET, "forceOrder": MARKET, "compositeIndex": MARKET,
    "bookTicker": PUBLIC, "depth": PUBLIC, "rpiDepth": PUBLIC, "trade": PUBLIC,
}  # fmt: skip
_ALL_MARKETS: Final = {
    "!markPrice@arr": MARKET, "!markPrice@arr@1s": MARKET, "!miniTicker@arr": MARKET,
    "!ticker@arr": MARKET, "!forceOrder@arr": MARKET, "!contractInfo": MARKET,
    "!assetIndex@arr": MARKET, "tradingSession": MARKET, "!bookTicker": PUBLIC,
}  # fmt: skip
_OF_ONE: Final = re.compile(
    r"(?P<symbol>[^@!]+)@(?P<kind>kline|continuousKline|aggTrade|markPrice|miniTicker|ticker"
    r"|forceOrder|compositeIndex|bookTicker|depth|rpiDepth|trade)(?P<rest>.*)"
)


class StreamName(NamedTuple):
    """One stream. `symbol` as in the data, "" for streams of all markets, whose `kind` is their
    whole name. `detail`: what follows the kind, such as `_5m`, `@1s`, `20@100ms`."""

    route: str
    kind: str
    symbol: str = ""
    detail: str = ""


def parse(stream: str) -> StreamName | None:
    """What a name means; None for one that is no stream. Symbols have to be in lower case."""
    if stream in _ALL_MARKETS:
        return StreamName(_ALL_MARKETS[stream], stream)
    match = _OF_ONE.fullmatch(stream)
    if match is None or match["symbol"] != match["symbol"].lower():
        return None
    kind = match["kind"]
    return StreamName(_ROUTES[kind], kind, match["symbol"].upper(), match["rest"])
