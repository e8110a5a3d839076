"""Bybit v5 as bots ask it: its public market paths, and its errors.

Source: the exchange's public API documentation as of autumn 2026, and logs that others published.
"""

from typing import Final

import orjson

from facade.venue import Answerer, FacadeVenue, PublicPath, always, table
from market.markets import Exchange

_CANDLES: Final = ("category", "symbol", "interval", "start", "end", "limit")
_MOMENT_S: Final = 2.0
_LISTED_S: Final = 60.0
# By path below /v5/market/: its parameters, for how long its answer is given to others, and what
# may answer it from the cache. All count alike.
_ROWS: Final[tuple[tuple[str, tuple[str, ...], float, Answerer | None], ...]] = (
    ("time", (), 0.0, "time"),
    ("kline", _CANDLES, 0.0, "klines"),
    ("mark-price-kline", _CANDLES, 0.0, None),
    ("index-price-kline", _CANDLES, 0.0, None),
    ("premium-index-price-kline", _CANDLES, 0.0, None),
    (
        "open-interest",
        ("category", "symbol", "intervalTime", "startTime", "endTime", "limit", "cursor"),
        0.0,
        "open_interest",
    ),
    (
        "funding/history",
        ("category", "symbol", "startTime", "endTime", "limit"),
        0.0,
        "funding",
    ),
    (
        "instruments-info",
        ("category", "symbol", "symbolType", "status", "baseCoin", "limit", "cursor"),
        _LISTED_S,
        None,
    ),
    ("tickers", ("category", "symbol", "baseCoin", "expDate"), _MOMENT_S, None),
    ("recent-trade", ("category", "symbol", "baseCoin", "optionType", "limit"), 0.0, None),
    ("orderbook", ("category", "symbol", "limit"), 0.0, None),
    ("risk-limit", ("category", "symbol", "cursor"), _LISTED_S, None),
    (
        "account-ratio",
        ("category", "symbol", "period", "startTime", "endTime", "limit", "cursor"),
        0.0,
        None,
    ),
)
_PATHS: Final = tuple(
    PublicPath(
        path=f"/v5/market/{name}",
        parameters=frozenset(parameters),
        counter="requests",
        weight=always(1),
        ttl_s=ttl_s,
        answerer=answerer,
    )
    for name, parameters, ttl_s, answerer in _ROWS
)
# retCode by status; clients read it from a body of status 200, but for limits of the address.
_CODES: Final = {403: 10005, 404: 10017, 429: 10006, 503: 10016, 504: 10000}


def _error(status: int, message: str) -> tuple[int, bytes]:
    """{"retCode":10006,"retMsg":"...","result":{},"retExtInfo":{},"time":0}"""
    body = {
        "retCode": _CODES.get(status, 10016),
        "retMsg": message,
        "result": {},
        "retExtInfo": {},
        "time": 0,
    }
    return status, orjson.dumps(body)


FACADE: Final = FacadeVenue(
    exchange=Exchange.BYBIT,
    paths=table(_PATHS),
    error=_error,
    signing=frozenset(("sign", "signature", "timestamp", "recv_window", "api_key", "apiKey")),
    key_headers=("x-bapi-",),
)
