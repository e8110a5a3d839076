"""The markets built from recorded lists and series: which files serve which market."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from simulator.answers import PERIODS_MS
from simulator.candles import DAY_MS, HOUR_MS
from simulator.exchange import Exchange, ListedContract
from simulator.market import Market
from simulator.recorded import (
    GRID_MS,
    NoRecordedCandles,
    RecordedCandles,
    RecordedFunding,
    RecordedOpenInterest,
    Scale,
    scale_of,
)
from simulator.recorded_files import RecordedSeries, read_series

Period = Literal["native", "newest"]

_8H_MS: Final = 8 * HOUR_MS
_LEAST_DAYS: Final = 10  # a shorter file serves no market
_INTERVALS_MS: Final = {**PERIODS_MS, "60": HOUR_MS, "240": 4 * HOUR_MS}


@dataclass(frozen=True, slots=True)
class Replay:
    """The recorded markets, the lists as recorded, and the files chosen for each market."""

    markets: list[Market]
    lists: dict[str, dict[str, Any]]  # name of a list -> symbol -> entry as recorded
    chosen: dict[tuple[str, str], "Choice"]

    def native_candles(self, exchange: str, symbol: str, interval: str) -> dict[str, Any]:
        """The candles of one file in their original text, shifted in time. Raises ValueError."""
        choice = self.chosen.get((exchange, symbol))
        if choice is None:
            raise ValueError(f"no recorded candles of {exchange} {symbol}")
        interval_ms = _INTERVALS_MS.get(interval)
        for series in choice.klines:
            if series.period_ms == interval_ms:
                columns = ["open", "high", "low", "close", "volume"]
                texts = [series.columns[name] for name in columns]
                turnover = series.columns.get("quote_volume", series.columns.get("turnover"))
                texts.append([""] * len(series.times) if turnover is None else turnover)
                times = [time + choice.offset_ms for time in series.times]
                rows = [list(row) for row in zip(times, *texts, strict=True)][:-1]
                return {
                    "exchange": exchange, "symbol": symbol, "interval": interval,
                    "source": series.source, "offset_ms": choice.offset_ms,
                    "columns": ["open_time", *columns, "turnover"], "rows": rows,
                }  # fmt: skip
        raise ValueError(f"no recorded {interval} candles of {exchange} {symbol}")


@dataclass(frozen=True, slots=True)
class Choice:
    """The files that serve one market, and their shift in time."""

    klines: list[RecordedSeries]
    open_interest: list[RecordedSeries]
    funding: RecordedSeries | None
    offset_ms: int


def build_replay(
    folder: Path, now_ms: int, seed: int, period: Period,
    most: Mapping[type[Exchange], int | None],
) -> Replay:  # fmt: skip
    """Builds the markets of a folder, at `most` so many per exchange (None: all).

    Raises OSError if a list is missing; an exchange with 0 markets needs no folder.
    """
    most = {
        exchange: count
        for exchange, count in most.items()
        if count != 0 or (folder / exchange.name).is_dir()
    }
    by_market: dict[tuple[str, str], list[RecordedSeries]] = defaultdict(list)
    bodies = [series for exchange in most for series in exchange.recorded_bodies(folder)]
    for series in [*read_series(folder), *bodies]:
        by_market[series.exchange, series.symbol].append(series)
    chosen = {}
    for key, found in by_market.items():
        choice = choose(found, now_ms, period)
        if choice is not None:
            chosen[key] = choice
    lists: dict[str, dict[str, Any]] = {}
    markets = []
    for exchange, count in most.items():
        lists |= exchange.recorded_lists(folder)
        collected = [
            (symbol, choice) for (name, symbol), choice in chosen.items() if name == exchange.name
        ]
        # Markets with native 8h candles come first, so that a small number includes them.
        collected.sort(key=lambda item: (not _has_native(item[1]), item[0]))
        kept = dict(collected[: len(collected) if count is None else count])
        for symbol, entry in lists[exchange.name].items():
            listed = exchange.listed_contract(entry)
            # A wanted contract without a recorded series is left out.
            if symbol in kept or not listed.wanted:
                markets.append(_market(exchange, symbol, listed, kept.get(symbol), seed))
    for number, market in enumerate(markets, 5):
        market.number = number
    return Replay(markets, lists, chosen)


def choose(found: Sequence[RecordedSeries], now_ms: int, period: Period) -> Choice | None:
    """Chooses one recorded period of a market: that of its native 8h candles, or the newest.

    Among files of one interval it takes the one that fits the period best.
    """
    klines = [series for series in found if series.kind == "kline"]
    klines = [one for one in klines if one.end_ms - one.times[0] >= _LEAST_DAYS * DAY_MS]
    if not klines:
        return None
    native = [series for series in klines if series.period_ms == _8H_MS]
    if native and period == "native":
        anchor = native[0]
    else:
        rest = [series for series in klines if series.period_ms != _8H_MS]
        # Of two that end on the same day, the one with the longer history.
        anchor = max(rest, key=lambda series: (series.end_ms // DAY_MS, -series.times[0]))
    first_ms, end_ms = anchor.times[0], anchor.end_ms

    def distance(series: RecordedSeries) -> int:
        return abs(series.end_ms - end_ms) + max(0, series.times[0] - first_ms)

    def near(kind: str) -> list[RecordedSeries]:
        fitting = [
            series for series in found
            if series.kind == kind and series.times[0] < end_ms
            and series.end_ms >= end_ms - DAY_MS
        ]  # fmt: skip
        best = {}
        for series in sorted(fitting, key=distance, reverse=True):
            best[series.period_ms] = series
        return list(best.values())

    used = [series for series in near("kline") if series in klines]
    # Leaves out each file's last candle, and keeps 8 recorded hours for the forming candles.
    whole_ms = min(series.end_ms - series.period_ms for series in used)
    recorded_now_ms = whole_ms - whole_ms % GRID_MS - GRID_MS
    funding = near("funding")
    return Choice(
        used, near("oi"), funding[0] if funding else None,
        now_ms - now_ms % GRID_MS - recorded_now_ms,
    )  # fmt: skip


def _has_native(choice: Choice) -> bool:
    return any(series.period_ms == _8H_MS for series in choice.klines)


def _sources(
    exchange: str, symbol: str, choice: Choice | None, seed: int
) -> tuple[Scale, Any, RecordedOpenInterest, RecordedFunding]:
    name = f"{exchange}:{symbol}"
    if choice is None:
        nothing = RecordedOpenInterest([], 0, seed, name), RecordedFunding(None, 0)
        return Scale(4, 0, 1), NoRecordedCandles(), *nothing
    scale = scale_of(choice.klines)
    return (
        scale,
        RecordedCandles(choice.klines, scale, choice.offset_ms),
        RecordedOpenInterest(choice.open_interest, choice.offset_ms, seed, name),
        RecordedFunding(choice.funding, choice.offset_ms),
    )


def _market(
    exchange: type[Exchange], symbol: str, listed: ListedContract, choice: Choice | None, seed: int
) -> Market:
    scale, candles, oi, funding = _sources(exchange.name, symbol, choice, seed)
    listed_ms = listed.listed_ms + (choice.offset_ms if choice else 0)
    traits = exchange.traits
    return Market(
        exchange=exchange.name, symbol=symbol, base=listed.base, quote=listed.quote,
        margin=listed.margin, contract_type=listed.contract_type,
        # A market with a series was trading when recorded, even if its status is another now.
        status=traits.trading if choice else listed.status, symbol_type=listed.symbol_type,
        listed_ms=listed_ms if choice is None else min(listed_ms, candles.first_ms),
        delivery_ms=traits.delivery_ms if choice else listed.delivery_ms,
        price_decimals=scale.price_decimals, quantity_decimals=scale.quantity_decimals,
        tick=scale.tick, step=1, candles=candles, open_interest=oi, funding=funding,
        collected=choice is not None, oi_decimals=oi.decimals,
        open_interest_kept_ms=traits.open_interest_kept_ms,
    )  # fmt: skip
