"""The lines of the archive's files, made from a market's integers as they are in truth.

A comment says "choice" where nothing is known of the archive.
"""

from datetime import UTC, date, datetime
from typing import Final

import numpy as np

from simulator.answers import PERIODS_MS
from simulator.archive.names import FUNDING, KLINES, METRICS, ArchiveFile, ms_of
from simulator.candles import OPEN, SLOT_MS, TIME, TURNOVER, VOLUME, Ints
from simulator.funding import RATE_DECIMALS
from simulator.market import Market
from simulator.randomness import draw
from simulator.text import fixed, fixed_column, rescaled

_HEADERS: Final = {
    KLINES: "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore",
    METRICS: "create_time,symbol,sum_open_interest,sum_open_interest_value,"
    "count_toptrader_long_short_ratio,sum_toptrader_long_short_ratio,count_long_short_ratio,"
    "sum_taker_long_short_vol_ratio",
    FUNDING: "calc_time,funding_interval_hours,last_funding_rate",
}
# Files of candles have no header before this day; older files are not made anew.
_KLINES_HEADER_FROM: Final = date(2022, 6, 1)
# From this day on the label of a snapshot of metrics is five minutes before its time.
LABELS_CHANGED_MS: Final = ms_of(date(2026, 6, 25))
_OI_DECIMALS: Final = 16
_ZERO_ROWS: Final = 24  # of metrics without open interest, by a fault: two hours


def header_of(file: ArchiveFile) -> str:
    """The first line of a file; empty where it has none."""
    if file.kind == KLINES and file.first_day < _KLINES_HEADER_FROM:
        return ""
    return _HEADERS[file.kind]


def rows_of(market: Market, file: ArchiveFile, seed: int, *, draft: bool, zeros: bool) -> list[str]:
    """The lines of a file, ascending, without its header.

    `draft`: the first row has another number than in truth, as before a file is replaced. `zeros`:
    some rows of metrics have no open interest.
    """
    if file.kind == KLINES:
        return _klines(market, file, draft)
    if file.kind == FUNDING:
        return _funding(market, file, draft)
    return _metrics(market, file, seed, draft=draft, zeros=zeros)


def _klines(market: Market, file: ArchiveFile, draft: bool) -> list[str]:
    interval_ms = PERIODS_MS[file.interval]
    candles = market.closed(interval_ms, file.start_ms, file.end_ms - 1)
    if market.impossible:  # those are sent over REST alone (choice)
        candles = candles[:, ~np.isin(candles[TIME], list(market.impossible))]
    if draft and candles.shape[1]:
        candles = candles.copy()
        candles[VOLUME, 0] += 10**market.quantity_decimals
        candles[TURNOVER, 0] += candles[OPEN, 0] * 10**market.quantity_decimals
    times, o, h, low, c, v, q, n, tv, tq = candles.tolist()
    both = market.price_decimals + market.quantity_decimals
    prices = (fixed_column(column, market.price_decimals) for column in (o, h, low, c))
    volumes = (fixed_column(column, market.quantity_decimals) for column in (v, tv))
    turnovers = (fixed_column(column, both) for column in (q, tq))
    span = interval_ms - 1
    return [
        f"{t},{o},{h},{low},{c},{v},{t + span},{q},{n},{tv},{tq},0"
        for t, o, h, low, c, (v, tv), (q, tq), n in zip(
            times, *prices, zip(*volumes, strict=True), zip(*turnovers, strict=True), n, strict=True
        )
    ]


def _funding(market: Market, file: ArchiveFile, draft: bool) -> list[str]:
    """Regular settlements alone (choice)."""
    found = market.funding.settlements(file.start_ms, file.end_ms - 1)
    return [
        f"{item.time_ms},{market.funding.hours_at(item.time_ms)},"
        f"{fixed(item.rate + (draft and place == 0), RATE_DECIMALS)}"
        for place, item in enumerate(item for item in found if not item.special)
    ]


def _metrics(
    market: Market, file: ArchiveFile, seed: int, *, draft: bool, zeros: bool
) -> list[str]:
    """A day's file has the snapshots from 00:05 to the next 00:00, whatever their labels are."""
    points = market.snapshots(SLOT_MS, file.start_ms + SLOT_MS, file.end_ms)
    times, values = points[0].tolist(), points[1].tolist()
    prices = _mark_prices(market, points[0])
    late_ms = SLOT_MS if file.start_ms >= LABELS_CHANGED_MS else 0
    decimals = market.open_interest_decimals
    rows = []
    first_zero = len(times) // 3 if zeros else len(times)
    for place, (time, value, price) in enumerate(zip(times, values, prices, strict=True)):
        if first_zero <= place < first_zero + _ZERO_ROWS:
            value = 0
        value += 10**decimals if draft and place == 0 else 0
        label = datetime.fromtimestamp((time - late_ms) / 1000, UTC)
        words = draw(seed, market.name, "mark", time // SLOT_MS, 2**30)
        # The mark price is near the price of trades (choice: within half a basis point).
        mark = price + price * (words % 101 - 50) // 10**6
        amount = rescaled(value * mark, decimals + market.price_decimals, _OI_DECIMALS)
        ratios = (fixed(10**8 + (words >> shift) % 10**8, 8) for shift in (0, 3, 5, 7))
        rows.append(
            f"{label:%Y-%m-%d %H:%M:%S},{market.symbol},"
            f"{fixed(rescaled(value, decimals, _OI_DECIMALS), _OI_DECIMALS)},"
            f"{fixed(amount, _OI_DECIMALS)},{','.join(ratios)}"
        )
    return rows


def _mark_prices(market: Market, times: Ints) -> list[int]:
    """The open of the candle at each time; a rough price where nothing was traded then."""
    if not times.size:
        return []
    candles = market.closed(SLOT_MS, int(times[0]), int(times[-1]))
    opens = dict(zip(candles[TIME].tolist(), candles[OPEN].tolist(), strict=True))
    rough = market.candles.rough_prices(times).tolist()
    return [opens.get(time, price) for time, price in zip(times.tolist(), rough, strict=True)]
