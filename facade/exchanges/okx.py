"""The addresses of OKX v5's public API that the facade answers; so far all are passed through."""

from collections.abc import Mapping
from typing import Final

import orjson

from facade.venue import (
    CandleForm,
    FacadeVenue,
    HistoryForm,
    PublicPath,
    Query,
    TimeForm,
    always,
    table,
)
from market.markets import Exchange

_CODES: Final[Mapping[int, str]] = {429: "50011", 418: "50011", 400: "51000", 404: "51001"}


def _error(status: int, message: str) -> tuple[int, bytes]:
    """{"code":"50011","msg":"...","data":[]}"""
    body = {"code": _CODES.get(status, "50001"), "msg": message, "data": []}
    return (429 if status == 418 else status), orjson.dumps(body)


def _nothing(query: Query) -> None:
    return None


FACADE: Final = FacadeVenue(
    exchange=Exchange.OKX,
    paths=table(
        (
            PublicPath(
                path="/api/v5/public/time",
                parameters=frozenset(),
                counter="time",
                weight=always(1),
            ),
        )
    ),
    error=_error,
    signing=frozenset(),
    key_headers=("ok-access-",),
    candles=CandleForm((), _nothing, lambda *_: b"", lambda body: 0),
    interest=HistoryForm(_nothing, lambda *_: b""),
    funding=HistoryForm(_nothing, lambda *_: b""),
    time=TimeForm(
        lambda time_ms: b'{"code":"0","msg":"","data":[{"ts":"%d"}]' % time_ms, lambda body: None
    ),
    closing=lambda time_ms: b"}",
    unclosed=lambda body: None,
    read_rows={},
    limit_headers=lambda counter, limit, used, now_ms: [],
)
