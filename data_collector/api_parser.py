"""Parses the answers of every exchange into validated rows; the only place with these checks.

Functions without I/O or clock. Each takes the body of a successful answer and raises BadPayload,
with exchange and market, if the content cannot be right. Rows come out ascending by time, each
once. An invalid row is left out alone, with its reason, and so is an instant with two different
rows. The exchanges' files in venues/ know the formats.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, TypeVar

import numpy as np
import structlog

from market.candles import Candle, Candles
from market.columns import TIME
from market.left_out import LeftOut
from market.markets import Exchange, FundingRow, Market
from market.rows import Columns, TimedValues, on_grid
from market.timeframes import HOUR_MS, MINUTE_MS
from venues import VENUES
from venues.numbers import shown
from venues.reading import AnswerFaults, AnswerPage, Instrument, Maintenance, Settlement, Ticker
from venues.venue import Endpoint

__all__ = [
    "AnswerPage",
    "Candle",
    "Instrument",
    "OpenInterestRow",
    "Ticker",
    "parse_all_funding",
    "parse_funding",
    "parse_instruments",
    "parse_klines",
    "parse_maintenance",
    "parse_open_interest",
    "parse_schedule",
    "parse_server_time",
    "parse_tickers",
]

Row = TypeVar("Row", bound=tuple[Any, ...])
T = TypeVar("T", bound=tuple[Any, ...])
OpenInterestRow = tuple[int, float]  # time of the snapshot ms | base units, one-sided
_EARLIEST_NOW_MS: Final = 1_500_000_000_000  # 2017
_LATEST_NOW_MS: Final = 10_000_000_000_000  # 2286
_RATE_LIMIT: Final = 10.0  # a rate of 1000 % is invalid
_NAMED_IN_LOG: Final = 3
_VOLUME: Final = Candle._fields.index("volume")

log = structlog.get_logger(__name__)


# --- history -----------------------------------------------------------------------------------


def parse_klines(
    market: Market, body: bytes, *, interval_ms: int, trade_columns: bool = False
) -> AnswerPage[Candle]:
    """Candles of one market, volume in base and turnover in quote units; with `trade_columns` wide
    ones, where the exchange tells of trades."""
    venue = VENUES[market.exchange]
    plain = venue.read_plain_klines(body, market, interval_ms, trade_columns)
    if plain is not None and _all_valid(plain, interval_ms):
        return _page(plain)
    faults = AnswerFaults(market.exchange, Endpoint.KLINES, market.symbol)
    rows = venue.read_klines(body, market, interval_ms, faults, trade_columns)
    page = _validated(rows, interval_ms, _candle_fault, faults.left_out, _exact)
    return page._replace(rows=Candles.of(page.rows)) if page.rows else page


def parse_open_interest(
    market: Market, body: bytes, *, interval_ms: int
) -> AnswerPage[OpenInterestRow]:
    """Snapshots of one market in base units, counted one-sided on every exchange."""
    faults = AnswerFaults(market.exchange, Endpoint.OPEN_INTEREST, market.symbol)
    found = VENUES[market.exchange].read_open_interest(body, market, faults)
    whole = len(found) and not faults.left_out and _on_grid(found, interval_ms)
    if whole and found.values.min() >= 0 and found.values.max() < np.inf:
        return _page(found)
    rows: list[OpenInterestRow] = list(found)
    page = _validated(rows, interval_ms, _interest_fault, faults.left_out)
    return page._replace(rows=TimedValues.of(page.rows)) if page.rows else page


def parse_funding(market: Market, body: bytes) -> AnswerPage[FundingRow]:
    """Regular settlements of one market; extra charges are left out."""
    faults = AnswerFaults(market.exchange, Endpoint.FUNDING, market.symbol)
    sent = VENUES[market.exchange].read_funding(body, faults)
    own = [row for row in sent if row.native == market.native]
    if sent and not own:
        raise faults("settlements of another symbol")
    others = [row for row in sent if row.native != market.native and row.regular]
    faults.left_out += [
        LeftOut(row.time_ms, f"a settlement of another symbol: {shown(row.native)}")
        for row in others
    ]
    regular = [row for row in own if row.regular]
    page = _validated(regular, 1, _rate_fault, faults.left_out, _rate, slot_ms=MINUTE_MS)
    times = [row.time_ms for row in own] + [row.time_ms for row in page.left_out if row.time_ms]
    return AnswerPage(
        [(row.time_ms, row.rate) for row in page.rows],
        min(times, default=None),
        max(times, default=None),
        len(sent) + len(faults.left_out),
        left_out=page.left_out,
        disputed=page.disputed,
    )


def parse_all_funding(exchange: Exchange, body: bytes) -> AnswerPage[tuple[str, int, float]]:
    """Regular settlements of all symbols as (the exchange's id, time, rate), ascending by time,
    from the venue's `recent_funding`.

    Exchanges list one instant's settlements by symbol, so times may be some ms out of order. A
    settlement that is invalid, or one of two that differ, is left out: the market's own are
    requested then.
    """
    recent = VENUES[exchange].recent_funding
    if recent is None:
        raise KeyError(f"{exchange} has no endpoint with the settlements of all symbols")
    endpoint, read = recent
    faults = AnswerFaults(exchange, endpoint, None)
    sent = sorted(read(body, faults), key=attrgetter("time_ms"))
    if not sent:
        return AnswerPage((), sent=len(faults.left_out))
    rates: dict[tuple[str, int], set[tuple[int, float]]] = {}
    for row in sent:
        if row.regular and isinstance(row.native, str) and _rate_fault(row) is None:
            instant = row.time_ms - row.time_ms % MINUTE_MS
            rates.setdefault((row.native, instant), set()).add((row.time_ms, row.rate))
    rows = [
        (native, *min(said))
        for (native, _), said in rates.items()
        if len({rate for _, rate in said}) == 1
    ]
    return AnswerPage(rows, sent[0].time_ms, sent[-1].time_ms, len(sent) + len(faults.left_out))


# --- lists of all contracts, and the clock -----------------------------------------------------


def parse_server_time(exchange: Exchange, body: bytes) -> int:
    """The exchange's clock in ms."""
    faults = AnswerFaults(exchange, Endpoint.TIME, None)
    time_ms = VENUES[exchange].read_time(body, faults)
    if not _EARLIEST_NOW_MS < time_ms < _LATEST_NOW_MS:
        raise faults(f"server time out of range: {time_ms} ms")
    return time_ms


def parse_maintenance(exchange: Exchange, body: bytes) -> Maintenance | None:
    """The maintenance that is under way; None if there is none, or the exchange tells of none."""
    read = VENUES[exchange].read_maintenance
    told = None if read is None else read(body, AnswerFaults(exchange, Endpoint.STATUS, None))
    if told is None or _EARLIEST_NOW_MS < told.end_ms < _LATEST_NOW_MS:
        return told
    return told._replace(end_ms=0)


def parse_instruments(exchange: Exchange, body: bytes, *, quote: str) -> AnswerPage[Instrument]:
    """Trading crypto perpetuals quoted and settled in `quote`; `sent` counts all instruments."""
    faults = AnswerFaults(exchange, Endpoint.INSTRUMENTS, None)
    page = VENUES[exchange].read_instruments(body, quote, faults)
    _log_skipped(exchange, Endpoint.INSTRUMENTS, faults)
    return page._replace(unread=faults.unread)


def parse_tickers(exchange: Exchange, body: bytes) -> list[Ticker]:
    """The tickers of all contracts."""
    faults = AnswerFaults(exchange, Endpoint.TICKERS, None)
    tickers = VENUES[exchange].read_tickers(body, faults)
    _log_skipped(exchange, Endpoint.TICKERS, faults)
    return tickers


def parse_schedule(exchange: Exchange, endpoint: Endpoint, body: bytes) -> list[Ticker]:
    """Funding intervals and next settlements, from one of the venue's `schedule` lists."""
    faults = AnswerFaults(exchange, endpoint, None)
    tickers = VENUES[exchange].schedule[endpoint](body, faults)
    _log_skipped(exchange, endpoint, faults)
    return tickers


def _log_skipped(exchange: Exchange, endpoint: Endpoint, faults: AnswerFaults) -> None:
    """Logs that entries of a list were left out, and the first of them."""
    if faults.skipped:
        log.warning(
            "list_entries_left_out",
            exchange=exchange,
            endpoint=endpoint,
            entries=len(faults.skipped),
            causes=faults.skipped[:_NAMED_IN_LOG],
        )


# --- shared checks -----------------------------------------------------------------------------


def _page(columns: Columns[T]) -> AnswerPage[T]:
    times = columns.times
    return AnswerPage(columns, int(times[0]), int(times[-1]), len(times))


def _on_grid(columns: Columns[T], interval_ms: int) -> bool:
    return bool(columns.times[0] > 0) and on_grid(columns.times, interval_ms)


def _all_valid(candles: Candles, interval_ms: int) -> bool:
    """Whether every row is valid; by whole columns, because nearly always all are."""
    opens, highs, lows, closes = map(candles.column, ("open", "high", "low", "close"))
    sane = (np.maximum(opens, closes) <= highs) & (np.minimum(opens, closes) >= lows)
    return _on_grid(candles, interval_ms) and bool(sane.all() and lows.min() > 0)


def _candle_fault(candle: Candle) -> str | None:
    low, high = candle.low, candle.high
    inside = low <= min(candle.open, candle.close) and max(candle.open, candle.close) <= high
    return None if inside and low > 0 else "impossible prices (high < low, or <= 0)"


def _interest_fault(row: OpenInterestRow) -> str | None:
    return None if 0 <= row[1] < np.inf else f"open interest is negative or not a number: {row[1]}"


def _rate_fault(row: Settlement) -> str | None:
    if row.time_ms % HOUR_MS >= MINUTE_MS:  # they are stamped some ms late
        return "time off the full hours at which funding is settled"
    return None if abs(row.rate) < _RATE_LIMIT else f"impossible funding rate: {row.rate}"


def _rate(row: Settlement) -> tuple[float]:
    """The settlement's number: its stamp may differ by some ms."""
    return (row.rate,)


def _exact(candle: Candle) -> tuple[Any, ...]:
    """The candle's numbers: two texts may stand for one volume."""
    prices: tuple[Any, ...] = candle[:_VOLUME]
    texts: tuple[Any, ...] = candle[_VOLUME:]
    return (*prices, *(None if text is None else Decimal(text) for text in texts))


def _validated(
    rows: Iterable[Row],
    interval_ms: int,
    fault: Callable[[Row], str | None],
    left_out: Sequence[LeftOut],
    numbers: Callable[[Row], tuple[Any, ...]] = tuple,
    slot_ms: int = 1,
) -> AnswerPage[Row]:
    """The valid rows, ascending, each once; the others are left out with their reasons.

    `left_out`: those that the exchange's parser has left out already. `numbers`: what makes two
    rows the same. `slot_ms`: rows within one of these steps are of one instant.
    """
    kept: dict[int, Row] = {}
    disputed: set[int] = set()
    others = list(left_out)
    sent = len(others)
    for row in rows:
        sent += 1
        time_ms = row[TIME]
        off_grid = time_ms <= 0 or time_ms % interval_ms
        reason = f"time off the grid of {interval_ms} ms" if off_grid else fault(row)
        if reason is not None:
            others.append(LeftOut(time_ms, reason))
        elif numbers(kept.setdefault(time_ms - time_ms % slot_ms, row)) != numbers(row):
            disputed.add(time_ms - time_ms % slot_ms)
    # A row off the grid counts as the one it lies behind, so that paging goes on after it.
    on_their_grid = (row.time_ms - row.time_ms % interval_ms for row in others if row.time_ms)
    times = [*kept, *on_their_grid]
    return AnswerPage(
        [kept[time_ms] for time_ms in sorted(kept) if time_ms not in disputed],
        min(times, default=None),
        max(times, default=None),
        sent,
        left_out=tuple(others),
        disputed=tuple(sorted(disputed)),
    )
