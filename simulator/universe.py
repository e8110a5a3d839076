"""The generated universe: which markets exist, with which habits. Deterministic by its seed.

Every kind of market that breaks naive collectors is there already in a small universe: the place
of a coin in the list decides its habits, not chance.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Final

from simulator.candles import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Ints
from simulator.funding import GeneratedFunding
from simulator.market import LIVE_DELIVERY_MS, Market
from simulator.names import BUSY, SPECIAL, UNITS, coins, daily_volatility, usual_usd
from simulator.open_interest import GeneratedOpenInterest
from simulator.outsiders import outsiders
from simulator.prices import AssetPrice, PathMemory
from simulator.randomness import Recent, draw
from simulator.series import Chunk, GeneratedCandles, Shape

_GENESIS_MS: Final = 1_568_102_400_000  # the first funding of the first contract: 2019-09-10 08:00
_SINGLE_OI_DAYS: Final = 20  # Bybit's rows older than this lack singleOpenInterest


@dataclass(frozen=True, slots=True)
class Habits:
    """What makes one market different from the plain one."""

    funding_hours: int = 8
    changed: tuple[tuple[int, int], ...] = ()  # (days ago, hours from then on), ascending
    listed_ago_ms: int | None = None
    holes: bool = False
    misses_oi: bool = False
    special_funding: bool = False
    quiet_slots: float = 0.0
    quiet_blocks: float = 0.0


_FIXED_HABITS: Final = {
    3: Habits(funding_hours=4),
    4: Habits(funding_hours=4, quiet_slots=0.1),
    5: Habits(holes=True),
    6: Habits(funding_hours=1),
    7: Habits(misses_oi=True),
    8: Habits(funding_hours=4, listed_ago_ms=30 * DAY_MS + 3 * HOUR_MS + 17 * MINUTE_MS),
    9: Habits(funding_hours=1, changed=((60, 4), (3, 1))),
    10: Habits(quiet_slots=0.9, quiet_blocks=0.3),
    11: Habits(funding_hours=4, listed_ago_ms=4 * MINUTE_MS),
    12: Habits(special_funding=True),
    13: Habits(funding_hours=2),
    14: Habits(funding_hours=4, listed_ago_ms=3 * DAY_MS + 7 * HOUR_MS),
    15: Habits(funding_hours=4, listed_ago_ms=-2 * HOUR_MS),  # listed, but not traded yet
    16: Habits(funding_hours=4, holes=True, quiet_slots=0.4),
    17: Habits(funding_hours=4),
    18: Habits(funding_hours=8, changed=((20, 1), (9, 8))),
    19: Habits(listed_ago_ms=200 * DAY_MS + 11 * HOUR_MS),
}


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every generated market of one run shares: the seed, the start, bounded memories."""

    seed: int
    start_ms: int
    chunks: Recent[Chunk]
    days: Recent[Ints]
    paths: PathMemory

    @classmethod
    def open(cls, seed: int, start_ms: int, markets: int) -> "Workshop":
        days = max(2 * markets, 200)
        return cls(seed, start_ms, Recent(600), Recent(days), PathMemory())


def build_universe(shop: Workshop, binance: int, bybit: int) -> list[Market]:
    """`binance` and `bybit` markets to collect, and with each exchange what must be left out."""
    markets: list[Market] = []
    for exchange, count in (("binance", binance), ("bybit", bybit)):
        numbered = _coins_of(exchange, count, shop.seed)
        markets += [_perpetual(shop, exchange, coin, i) for i, coin in enumerate(numbered)]
        if count:
            markets += outsiders(exchange, shop.start_ms, partial(_outsider, shop, exchange))
    for number, market in enumerate(markets, 5):
        market.number = number
    return markets


def make_market(shop: Workshop, exchange: str, base: str, *, listed_ms: int) -> Market:
    """A new perpetual that appears while the simulator runs."""
    habits = Habits(funding_hours=4, listed_ago_ms=shop.start_ms - listed_ms)
    return _market(shop, exchange, base, base, habits, rank=200)


def _coins_of(exchange: str, count: int, seed: int) -> list[str]:
    chosen: list[str] = []
    for index, coin in enumerate(coins(count * 2 + 40, seed)):
        names = SPECIAL.get(coin)
        if names is None:  # most coins are on both, some on one exchange only
            there = index % 9 != (7 if exchange == "binance" else 4)
        else:
            there = names[1 if exchange == "binance" else 2] is not None
        if there and len(chosen) < count:
            chosen.append(coin)
    return chosen


def _perpetual(shop: Workshop, exchange: str, coin: str, rank: int) -> Market:
    names = SPECIAL.get(coin)
    spelt = None if names is None else names[1] if exchange == "binance" else names[2]
    base = spelt or coin
    return _market(shop, exchange, coin, base, _habits(shop, exchange, rank), rank)


def _habits(shop: Workshop, exchange: str, rank: int) -> Habits:
    if rank < 20:
        return _FIXED_HABITS.get(rank, Habits())

    def one_in(kind: str, n: int) -> bool:
        return draw(shop.seed, exchange, kind, rank, n) == 0

    hours = (8, 8, 8, 4, 4, 4, 4, 4, 2, 1)[draw(shop.seed, exchange, "hours", rank, 10)]
    changed: tuple[tuple[int, int], ...] = ()
    if one_in("changed", 12):
        days = 2 + draw(shop.seed, exchange, "changed ago", rank, 60)
        changed = ((days + 5, 1), (days, hours))
    listed_ago_ms = None
    if one_in("young", 8):
        listed_ago_ms = (1 + draw(shop.seed, exchange, "age", rank, 120 * 96)) * 15 * MINUTE_MS
    small = min(rank / 600, 0.6)
    return Habits(
        funding_hours=hours,
        changed=changed,
        listed_ago_ms=listed_ago_ms,
        holes=one_in("holes", 16),
        misses_oi=one_in("misses", 16),
        special_funding=one_in("special", 30),
        quiet_slots=small * draw(shop.seed, exchange, "quiet", rank, 100) / 100,
        quiet_blocks=0.2 if one_in("silent", 40) else 0.0,
    )


def _market(
    shop: Workshop, exchange: str, coin: str, base: str, habits: Habits, rank: int,
    quote: str = "USDT",
) -> Market:  # fmt: skip
    symbol = base + quote
    name = f"{exchange}:{symbol}"
    asset = asset_price(shop, coin, quote)
    unit = UNITS.get(base, 1)
    price = asset.usual * unit / (asset.quote.usual if asset.quote else 1)
    tick_decimals = min(max(0, 4 - math.floor(math.log10(price))), 8)
    if base == "BTC":
        tick_decimals = 1
    step_decimals = max(0, min(3, math.floor(math.log10(price)) + 1))
    padding = draw(shop.seed, name, "padding", 0, 3) if exchange == "binance" else 0
    if base in ("BTC", "SOL") and exchange == "binance":
        padding = 1
    price_decimals = min(tick_decimals + padding, 8)
    tick: int = 10 ** (price_decimals - tick_decimals)
    # Bybit sells its cheapest contracts in lots.
    step = 100 if exchange == "bybit" and price < 0.05 else 1
    quantity_decimals = step_decimals
    step_size = step / 10**quantity_decimals

    turnover_a_day = 2e10 / (1 + rank) ** 1.15 + 3e5
    if coin in BUSY:
        turnover_a_day = 4e17 / 10 ** (price_decimals + quantity_decimals)
    block_volume = max(turnover_a_day / 12 / price / step_size, 400.0)
    if habits.listed_ago_ms is None:
        listed_ms = _GENESIS_MS + rank * 3 * DAY_MS if rank < 600 else _GENESIS_MS + 600 * DAY_MS
    else:
        listed_ms = shop.start_ms - shop.start_ms % MINUTE_MS - habits.listed_ago_ms
    first_ms = listed_ms - listed_ms % SLOT_MS
    # A contract listed but not trading yet is one whose listing lies before its first trade.
    onboard_ms = listed_ms if listed_ms <= shop.start_ms else shop.start_ms - HOUR_MS

    shape = Shape(
        name=name, asset=asset, seed=shop.seed, ticks_a_unit=unit * 10.0**tick_decimals,
        block_volume=block_volume,
        price_decimals=price_decimals, quantity_decimals=quantity_decimals, tick=tick, step=step,
        opens_with_gaps=exchange == "binance", quiet_slots=habits.quiet_slots,
        quiet_blocks=habits.quiet_blocks, holes=habits.holes, first_trade_ms=first_ms,
    )  # fmt: skip
    intervals = [(0, habits.changed[0][1] if habits.changed else habits.funding_hours)]
    for days_ago, hours in habits.changed:
        at_ms = shop.start_ms - days_ago * DAY_MS
        intervals.append((at_ms - at_ms % (8 * HOUR_MS), hours))
    if habits.changed:
        intervals[0] = (0, 8)
    level = block_volume * (2 + draw(shop.seed, name, "oi level", 0, 60) / 10)
    return Market(
        exchange=exchange, symbol=symbol, base=base, quote=quote, margin=quote,
        contract_type="PERPETUAL" if exchange == "binance" else "LinearPerpetual",
        status="TRADING" if exchange == "binance" else "Trading",
        symbol_type="COIN" if exchange == "binance" else ("innovation" if rank % 7 == 6 else ""),
        listed_ms=onboard_ms, delivery_ms=LIVE_DELIVERY_MS if exchange == "binance" else 0,
        price_decimals=price_decimals, quantity_decimals=quantity_decimals, tick=tick, step=step,
        candles=GeneratedCandles(shape, shop.chunks, shop.days),
        open_interest=GeneratedOpenInterest(
            name, shop.seed, level, step, first_ms + 1, habits.misses_oi
        ),
        funding=GeneratedFunding(
            name, shop.seed, first_ms, intervals, exchange == "binance",
            habits.special_funding and exchange == "binance",
        ),
        collected=True,
        single_oi_from_ms=shop.start_ms - shop.start_ms % DAY_MS - _SINGLE_OI_DAYS * DAY_MS,
        listed_in_info=habits.funding_hours != 8 or rank % 2 == 0,
    )  # fmt: skip


def _outsider(shop: Workshop, exchange: str, base: str, rank: int, quote: str, life: str) -> Market:
    """A contract that must not be collected; `life` is trading, awaited or settled."""
    ago_ms = -30 * DAY_MS if life == "awaited" else None
    market = _market(shop, exchange, base, base, Habits(listed_ago_ms=ago_ms), rank, quote)
    if life == "settled" and isinstance(market.candles, GeneratedCandles):
        market.candles.end_at(shop.start_ms - 100 * DAY_MS)
    market.collected = False
    return market


def asset_price(shop: Workshop, asset: str, quote: str = "USDT") -> AssetPrice:
    """The price that the markets of `asset` follow on every exchange."""
    other = asset_price(shop, quote) if quote == "BTC" else None  # else a dollar
    usual = usual_usd(asset, shop.seed)
    return AssetPrice(shop.seed, asset, usual, daily_volatility(asset), shop.paths, other)
