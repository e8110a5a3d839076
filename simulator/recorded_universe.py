"""The universe of recorded lists and series: which file serves which market, and since when."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from simulator.answers import PERIODS_MS
from simulator.candles import DAY_MS, HOUR_MS
from simulator.market import LIVE_DELIVERY_MS, Market
from simulator.recorded import (
    GRID_MS,
    NothingRecorded,
    RecordedCandles,
    RecordedFunding,
    RecordedOpenInterest,
    Scale,
    scale_of,
)
from simulator.recorded_files import RecordedSeries, read_json, read_series

Period = Literal["native", "newest"]

_8H_MS: Final = 8 * HOUR_MS
_LEAST_DAYS: Final = 10  # a shorter file serves no market
_INTERVALS_MS: Final = {**PERIODS_MS, "60": HOUR_MS, "240": 4 * HOUR_MS}


@dataclass(frozen=True, slots=True)
class Replay:
    """The recorded markets, the lists as recorded, and how each series was moved."""

    markets: list[Market]
    lists: dict[str, dict[str, dict[str, Any]]]  # exchange -> symbol -> entry as recorded
    funding_info: list[dict[str, Any]]
    chosen: dict[tuple[str, str], "Choice"]

    def native_candles(self, exchange: str, symbol: str, interval: str) -> dict[str, Any]:
        """The candles of one file as its text says, moved in time. Raises ValueError."""
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
    """The files that serve one market, and the offset that moves them."""

    klines: list[RecordedSeries]
    open_interest: list[RecordedSeries]
    funding: RecordedSeries | None
    offset_ms: int


def build_replay(
    folder: Path, now_ms: int, seed: int, period: Period, binance: int | None, bybit: int | None
) -> Replay:
    """All that the folder holds. Raises OSError where a list is missing."""
    by_market: dict[tuple[str, str], list[RecordedSeries]] = defaultdict(list)
    for series in read_series(folder):
        by_market[series.exchange, series.symbol].append(series)
    chosen = {}
    for key, found in by_market.items():
        choice = choose(found, now_ms, period)
        if choice is not None:
            chosen[key] = choice
    lists = {
        "binance": {
            entry["symbol"]: entry
            for entry in read_json(folder / "binance", "exchangeInfo_*.json")["symbols"]
        },
        "bybit": _bybit_list(folder / "bybit"),
    }
    markets = []
    for exchange, most, make in (("binance", binance, _binance), ("bybit", bybit, _bybit)):
        collected = [
            (symbol, choice) for (name, symbol), choice in chosen.items() if name == exchange
        ]
        # Those with native 8h candles first, so that a small number keeps them.
        collected.sort(key=lambda item: (not _has_native(item[1]), item[0]))
        kept = dict(collected[: len(collected) if most is None else most])
        for symbol, entry in lists[exchange].items():
            if symbol in kept or (symbol not in chosen and not _wanted(exchange, entry)):
                markets.append(make(entry, kept.get(symbol), seed))
    for number, market in enumerate(markets, 5):
        market.number = number
    funding_info = read_json(folder / "binance", "fundingInfo_*.json")
    return Replay(markets, lists, funding_info, chosen)


def choose(found: Sequence[RecordedSeries], now_ms: int, period: Period) -> Choice | None:
    """One period of a market: that of its native 8h candles, or the newest.

    Among files of one interval the one that fits the period best is taken.
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
        # Where two end on the same day, the one with more history.
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
    # Without the last candle of each file, on the grid, and with 8 hours left for what forms now.
    whole_ms = min(series.end_ms - series.period_ms for series in used)
    recorded_now_ms = whole_ms - whole_ms % GRID_MS - GRID_MS
    funding = near("funding")
    return Choice(
        used, near("oi"), funding[0] if funding else None,
        now_ms - now_ms % GRID_MS - recorded_now_ms,
    )  # fmt: skip


def _has_native(choice: Choice) -> bool:
    return any(series.period_ms == _8H_MS for series in choice.klines)


def _wanted(exchange: str, entry: dict[str, Any]) -> bool:
    """A contract that a collector must collect: left out where no series was recorded of it."""
    if exchange == "bybit":
        return bool(
            entry["contractType"] == "LinearPerpetual"
            and entry["status"] == "Trading"
            and entry["quoteCoin"] == entry.get("settleCoin") == "USDT"
        )
    return bool(
        entry["contractType"] == "PERPETUAL"
        and entry["status"] == "TRADING"
        and entry["quoteAsset"] == entry["marginAsset"] == "USDT"
    )


def _bybit_list(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    # The older complete list, overlaid by the documented entries of the newer shape.
    for pattern in ("*_testnet.json", "*_BTCUSDT_*.json", "*_PreLaunch_*.json"):
        for entry in read_json(folder, f"instruments-info_linear{pattern}")["result"]["list"]:
            found[entry["symbol"]] = entry
    return found


def _sources(
    exchange: str, symbol: str, choice: Choice | None, seed: int
) -> tuple[Scale, Any, RecordedOpenInterest, RecordedFunding]:
    name = f"{exchange}:{symbol}"
    if choice is None:
        nothing = RecordedOpenInterest([], 0, seed, name), RecordedFunding(None, 0)
        return Scale(4, 0, 1), NothingRecorded(), *nothing
    scale = scale_of(choice.klines)
    return (
        scale,
        RecordedCandles(choice.klines, scale, choice.offset_ms),
        RecordedOpenInterest(choice.open_interest, choice.offset_ms, seed, name),
        RecordedFunding(choice.funding, choice.offset_ms),
    )


def _binance(entry: dict[str, Any], choice: Choice | None, seed: int) -> Market:
    symbol = entry["symbol"]
    scale, candles, oi, funding = _sources("binance", symbol, choice, seed)
    listed_ms = entry["onboardDate"] + (choice.offset_ms if choice else 0)
    return Market(
        exchange="binance", symbol=symbol, base=entry["baseAsset"], quote=entry["quoteAsset"],
        margin=entry["marginAsset"], contract_type=entry["contractType"],
        # What has a live series was trading when it was recorded, whatever became of it since.
        status="TRADING" if choice else entry["status"], symbol_type=entry["underlyingType"],
        listed_ms=listed_ms if choice is None else min(listed_ms, candles.first_ms),
        delivery_ms=LIVE_DELIVERY_MS if choice else entry["deliveryDate"],
        price_decimals=scale.price_decimals, quantity_decimals=scale.quantity_decimals,
        tick=scale.tick, step=1, candles=candles, open_interest=oi, funding=funding,
        collected=choice is not None, oi_decimals=oi.decimals,
    )  # fmt: skip


def _bybit(entry: dict[str, Any], choice: Choice | None, seed: int) -> Market:
    symbol = entry["symbol"]
    scale, candles, oi, funding = _sources("bybit", symbol, choice, seed)
    listed_ms = int(entry["launchTime"]) + (choice.offset_ms if choice else 0)
    return Market(
        exchange="bybit", symbol=symbol, base=entry["baseCoin"], quote=entry["quoteCoin"],
        margin=entry.get("settleCoin", ""), contract_type=entry["contractType"],
        status="Trading" if choice else entry["status"], symbol_type=entry.get("symbolType", ""),
        listed_ms=listed_ms if choice is None else min(listed_ms, candles.first_ms),
        delivery_ms=int(entry["deliveryTime"]), price_decimals=scale.price_decimals,
        quantity_decimals=scale.quantity_decimals, tick=scale.tick, step=1, candles=candles,
        open_interest=oi, funding=funding, collected=choice is not None, oi_decimals=oi.decimals,
    )  # fmt: skip
