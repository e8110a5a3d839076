"""OKX v5 as bots ask it: its public paths for swaps with their limits, and its errors.

Source: the exchange's public API documentation as of autumn 2026, and logs that others published.
Markets are named by the exchange's ids (BTC-USDT-SWAP), and sizes are told in contracts, too.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final

import msgspec
import orjson

from facade.candle_questions import CandleQuestion, Keeps
from facade.history_questions import FundingQuestion, InterestQuestion
from facade.market_rows import MarketRows, plain
from facade.told_rows import ToldRow
from facade.venue import (
    Answerer,
    CandleForm,
    FacadeVenue,
    PublicPath,
    Query,
    TimeForm,
    always,
    bounds_of,
    clear,
    grid_lengths,
    limit_of,
    table,
)
from market.markets import Exchange
from market.timeframes import DAY_MS
from venues import VENUES
from venues.venue import Endpoint, Limit

_OLD: Final = "/api/v5/market/history-candles"
_CANDLES: Final = ("instId", "bar", "after", "before", "limit")
_KIND: Final = ("instType", "instFamily", "uly", "instId")
_RATIO: Final = ("instId", "period", "begin", "end", "limit")
_RATIOS: Final = "rubik/stat/contracts/long-short"
# For how long an answer is given to others, as in the file of Binance.
_BOOK_S: Final = 1.0
_MOMENT_S: Final = 3.0
_LISTED_S: Final = 60.0
# By path below /api/v5/: its parameters, the limit that it counts against, for how long its answer
# is given to others, and what may answer it from the cache.
_ROWS: Final[tuple[tuple[str, tuple[str, ...], str, float, Answerer | None], ...]] = (
    ("public/time", (), "time", 0.0, "time"),
    ("public/instruments", _KIND, "instruments", _LISTED_S, None),
    ("market/candles", _CANDLES, "candles", _MOMENT_S, "klines"),
    ("market/history-candles", _CANDLES, "history_candles", _MOMENT_S, "klines"),
    ("market/mark-price-candles", _CANDLES, "mark_candles", _MOMENT_S, None),
    ("market/history-mark-price-candles", _CANDLES, "history_mark_candles", _MOMENT_S, None),
    ("market/index-candles", _CANDLES, "index_candles", _MOMENT_S, None),
    ("market/history-index-candles", _CANDLES, "history_index_candles", _MOMENT_S, None),
    ("rubik/stat/contracts/open-interest-history", _RATIO, "open_interest", _MOMENT_S,
     "open_interest"),
    ("public/funding-rate-history", ("instId", "before", "after", "limit"), "funding", _MOMENT_S,
     "funding"),
    ("public/funding-rate", ("instId",), "funding_now", _MOMENT_S, None),
    ("public/open-interest", _KIND, "open_interest_now", _MOMENT_S, None),
    ("public/mark-price", _KIND, "mark_price", _MOMENT_S, None),
    ("public/price-limit", ("instId",), "price_limit", _MOMENT_S, None),
    ("market/tickers", ("instType", "instFamily", "uly"), "tickers", _MOMENT_S, None),
    ("market/ticker", ("instId",), "ticker", _MOMENT_S, None),
    ("market/index-tickers", ("quoteCcy", "instId"), "index_tickers", _MOMENT_S, None),
    ("market/books", ("instId", "sz"), "books", _BOOK_S, None),
    ("market/trades", ("instId", "limit"), "trades", _BOOK_S, None),
    (f"{_RATIOS}-account-ratio-contract", _RATIO, "ratios", _MOMENT_S, None),
    (f"{_RATIOS}-account-ratio-contract-top-trader", _RATIO, "ratios", _MOMENT_S, None),
    (f"{_RATIOS}-position-ratio-contract-top-trader", _RATIO, "ratios", _MOMENT_S, None),
)  # fmt: skip
_PATHS: Final = tuple(
    PublicPath(
        path=f"/api/v5/{name}",
        parameters=frozenset(parameters),
        counter=counter,
        weight=always(1),
        ttl_s=ttl_s,
        answerer=answerer,
    )
    for name, parameters, counter, ttl_s, answerer in _ROWS
)

_SWAP: Final = re.compile(r"([^-]+)-([^-]+)-SWAP")


def _our_symbol(native: str) -> str | None:
    """BTCUSDT of BTC-USDT-SWAP; None of what is no swap."""
    found = _SWAP.fullmatch(native)
    return f"{found[1]}{found[2]}" if found else None


def _asked_about(query: Query) -> str:
    return query.get("instId", "")


def _between(query: Query, first: str, last: str) -> tuple[int | None, int | None]:
    """The first and the last moment between two times, which are not told themselves."""
    after_ms, before_ms = bounds_of(query, first, last)
    return (
        None if after_ms is None else after_ms + 1,
        None if before_ms is None else before_ms - 1,
    )


_USUAL_CANDLES: Final = 100
_MOST_CANDLES: Final = 300
_MOST_OLD_CANDLES: Final = 100  # 300 by later documentation
_KLINES: Final = VENUES[Exchange.OKX].table(Endpoint.KLINES)
_LENGTHS: Final = grid_lengths(_KLINES.periods)  # of bars that open by UTC, no others


def _asked_candles(query: Query) -> CandleQuestion | None:
    """The newest 1,440 rows and no others."""
    return _candles(query, _MOST_CANDLES, reach=_KLINES.newest_rows)


def _asked_old_candles(query: Query) -> CandleQuestion | None:
    """Whether the forming candle is told, nobody has said."""
    return _candles(query, _MOST_OLD_CANDLES, tells_forming=False)


def _candles(
    query: Query, most: int, *, reach: int | None = None, tells_forming: bool = True
) -> CandleQuestion | None:
    """`before` alone means the newest rows. Which ones are told where more than `limit` lie between
    two bounds, nobody has said."""
    limit = limit_of(query, _USUAL_CANDLES, most)
    first_ms, last_ms = _between(query, "before", "after")
    step_ms = _LENGTHS.get(query.get("bar", ""))
    if step_ms is None:
        return None
    keeps = Keeps.NEWEST if first_ms is None or last_ms is None else Keeps.UNKNOWN
    return CandleQuestion(
        *(_asked_about(query), step_ms, limit, keeps, first_ms, last_ms),
        reach=reach,
        tells_forming=tells_forming,
    )


_OF_A_CANDLE: Final = ("open", "high", "low", "close", "volume", "turnover")
_EXACTLY: Final = Context(prec=40, traps=[Inexact, InvalidOperation])


def _told_candles(
    rows: MarketRows, lines: range, question: CandleQuestion, contract: Decimal
) -> bytes | None:
    """{"code":"0","msg":"","data":[["1790161800000","85821.6","85821.7","85666.7","85717.8",
    "27164.55","271.6455","23287754.86518","1"],...]}, newest first: volume in contracts, in coins,
    turnover, and whether the candle has closed."""
    places = [rows.columns.index(name) for name in _OF_A_CANDLE]
    closed_by_ms = rows.checked_at_ms - rows.interval_ms
    told = []
    for line in lines:
        opened, row = rows.times[line], rows.cells[line]
        o, h, l, c, coins, turnover = (row[place] for place in places)  # noqa: E741
        try:
            contracts = _EXACTLY.divide(Decimal(coins), contract)
        except Inexact:
            return None
        told.append(
            f'["{opened}","{o}","{h}","{l}","{c}","{plain(f"{contracts:f}")}","{coins}"'
            f',"{turnover}","{int(opened <= closed_by_ms)}"]'
        )
    return _list(told, question.symbol)


def _list(rows: Sequence[str], native: str) -> bytes:
    return _success(",".join(reversed(rows)))


def _success(entries: str) -> bytes:
    return f'{{"code":"0","msg":"","data":[{entries}]}}'.encode()


_SUCCESS: Final = b'{"code":"0",'
_FIRST_CANDLE: Final = b'"data":[["'


def _newest_candle(body: bytes) -> int:
    """The first one's."""
    begin = body.index(_FIRST_CANDLE) + len(_FIRST_CANDLE)
    return int(body[begin : body.index(b'"', begin)])


_TIME: Final = re.compile(
    rb'\{"code":"0",(?:"msg":"",)?"data":\[\{"ts":"([0-9]{13})"\}\](?:,"msg":"")?\}'
)


def _read_time(body: bytes) -> int | None:
    found = _TIME.fullmatch(body)
    return int(found[1]) if found else None


_MOST_INTEREST: Final = 100
_INTEREST: Final = VENUES[Exchange.OKX].table(Endpoint.OPEN_INTEREST)
_INTEREST_LENGTHS: Final = grid_lengths(_INTEREST.periods)
_INTEREST_ROWS: Final = 1440  # of a period, the newest


def _asked_interest(query: Query) -> InterestQuestion | None:
    """Whether a row of the very instant of a bound is told, nobody has said."""
    limit = limit_of(query, _MOST_INTEREST, _MOST_INTEREST)
    first_ms, last_ms = bounds_of(query, "begin", "end")
    step_ms = _INTEREST_LENGTHS.get(query.get("period", ""))
    if step_ms is None:
        return None
    if any(bound is not None and bound % step_ms == 0 for bound in (first_ms, last_ms)):
        return None
    native, kept_ms = _asked_about(query), (_INTEREST_ROWS - 1) * step_ms
    return InterestQuestion(native, step_ms, limit, first_ms, last_ms, kept_ms=kept_ms)


_MOST_FUNDING: Final = 400
_FUNDING_KEPT_MS: Final = 88 * DAY_MS  # three months have 89 days and more


def _asked_funding(query: Query) -> FundingQuestion | None:
    """How many rows are told without a limit has changed. Which ones are told where more than
    `limit` lie between two bounds, nobody has said."""
    first_ms, last_ms = _between(query, "before", "after")
    if "limit" not in query or (first_ms is not None and last_ms is not None):
        return None
    limit = limit_of(query, _MOST_FUNDING, _MOST_FUNDING)
    return FundingQuestion(
        *(_asked_about(query), limit, first_ms, last_ms), forward=False, kept_ms=_FUNDING_KEPT_MS
    )


class _Answer(msgspec.Struct):
    data: list[msgspec.Raw]


class _Settlement(msgspec.Struct):
    instId: str
    fundingTime: str
    realizedRate: str


class _Instrument(msgspec.Struct):
    instId: str
    ctVal: str
    ctMult: str


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_CELLS: Final = msgspec.json.Decoder(list[str])
_SETTLEMENT: Final = msgspec.json.Decoder(_Settlement)
_INSTRUMENT: Final = msgspec.json.Decoder(_Instrument)


def _interest_rows(body: bytes, native: str | None) -> Iterator[ToldRow]:
    """{"code":"0","msg":"","data":[["1790161800000","2663107.3","26631.073","1676426045.35"],
    ...]}: no row tells of which market."""
    rows = _ANSWER.decode(body).data if native is not None else []
    for raw in rows:
        yield ToldRow.of(native or "", int(_CELLS.decode(raw)[0]), raw)


def _funding_rows(body: bytes, native: str | None) -> Iterator[ToldRow]:
    """{"code":"0","msg":"","data":[{"instId":"BTC-USDT-SWAP","instType":"SWAP",
    "fundingRate":"0.0001515032","realizedRate":"0.00015","fundingTime":"1704067200000"},...]}"""
    for raw in _ANSWER.decode(body).data:
        row = _SETTLEMENT.decode(raw)
        yield ToldRow.of(row.instId, int(row.fundingTime), raw)


def _read_contracts(body: bytes) -> Mapping[str, Decimal]:
    """{"code":"0","msg":"","data":[{"instId":"BTC-USDT-SWAP","ctVal":"0.01","ctMult":"1",...},
    ...]}; an entry that cannot be read is left out."""
    found = {}
    for raw in _ANSWER.decode(body).data:
        with contextlib.suppress(msgspec.DecodeError, ArithmeticError):
            row = _INSTRUMENT.decode(raw)
            size = Decimal(row.ctVal) * Decimal(row.ctMult)
            if size.is_finite() and size > 0:
                found[row.instId] = size
    return found


# The code, and the HTTP status that the exchange sends it with; others are "system error". What has
# none of its own is as near as one comes: an unlisted path is one that is offline, and a ban, of
# which the exchange has none, a limit.
_CODES: Final = {
    **{400: (400, "51000"), 401: (401, "50111"), 403: (403, "50111"), 404: (404, "50005")},
    **{405: (405, "50115"), 418: (429, "50011"), 429: (429, "50011")},
    **{502: (503, "50001"), 503: (503, "50001"), 504: (400, "50004")},
}


def _error(status: int, message: str) -> tuple[int, bytes]:
    """{"code":"50011","msg":"...","data":[]}"""
    told, code = _CODES.get(status, (status, "50026"))
    return told, orjson.dumps({"code": code, "msg": message, "data": []})


def _limit_headers(counter: str, limit: Limit, used: int, now_ms: int) -> list[tuple[bytes, bytes]]:
    """The exchange tells none."""
    return []


FACADE: Final = FacadeVenue(
    exchange=Exchange.OKX,
    paths=table(_PATHS),
    error=_error,
    signing=frozenset(("signature", "sign", "apikey", "passphrase", "timestamp")),
    key_headers=("ok-access-",),
    asked={
        _KLINES.path: clear(_asked_candles),
        _OLD: clear(_asked_old_candles),
        _INTEREST.path: clear(_asked_interest),
        "/api/v5/public/funding-rate-history": clear(_asked_funding),
    },
    candles=CandleForm(_OF_A_CANDLE, _told_candles, _newest_candle),
    interest=_list,
    funding=_list,
    time=TimeForm(lambda now_ms: _success(f'{{"ts":"{now_ms}"}}'), _read_time),
    closing=lambda _: b"",
    unclosed=lambda body: body if body.startswith(_SUCCESS) else None,
    read_rows={Endpoint.OPEN_INTEREST: _interest_rows, Endpoint.FUNDING: _funding_rows},
    limit_headers=_limit_headers,
    symbol="instId",
    our_symbol=_our_symbol,
    read_contracts=_read_contracts,
)
