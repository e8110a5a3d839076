"""The generated markets of a seed: their coins, and the features that make each one special.

The first twenty coins of an exchange have fixed features, so that a few markets already include
every kind that breaks naive collectors.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from simulator.candles import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Ints
from simulator.exchange import Exchange, Spelling
from simulator.funding import GeneratedFunding
from simulator.market import Market
from simulator.names import BUSY, SPECIAL_USD, coins, daily_volatility, usual_usd
from simulator.open_interest import GeneratedOpenInterest
from simulator.parameters import FAR_MS
from simulator.prices import AssetPrice, PathMemory
from simulator.randomness import RecentlyUsed, draw
from simulator.series import Chunk, GeneratedCandles, Shape

_GENESIS_MS: Final = 1_568_102_400_000  # the first funding of the first contract: 2019-09-10 08:00
_SINGLE_OI_DAYS: Final = 20  # older snapshots lack one-sided open interest


@dataclass(frozen=True, slots=True)
class Features:
    """The ways in which a market differs from a plain one."""

    funding_hours: int = 8
    changed: tuple[tuple[int, int], ...] = ()  # (days ago, hours from then on), ascending
    listed_ago_ms: int | None = None
    holes: bool = False
    misses_oi: bool = False
    special_funding: bool = False
    quiet_slots: float = 0.0
    quiet_blocks: float = 0.0


_FIXED_FEATURES: Final = {
    3: Features(funding_hours=4),
    4: Features(funding_hours=4, quiet_slots=0.1),
    5: Features(holes=True),
    6: Features(funding_hours=1),
    7: Features(misses_oi=True),
    8: Features(funding_hours=4, listed_ago_ms=30 * DAY_MS + 3 * HOUR_MS + 17 * MINUTE_MS),
    9: Features(funding_hours=1, changed=((60, 4), (3, 1))),
    10: Features(quiet_slots=0.9, quiet_blocks=0.3),
    11: Features(funding_hours=4, listed_ago_ms=4 * MINUTE_MS),
    12: Features(special_funding=True),
    13: Features(funding_hours=2),
    14: Features(funding_hours=4, listed_ago_ms=3 * DAY_MS + 7 * HOUR_MS),
    15: Features(funding_hours=4, listed_ago_ms=-2 * HOUR_MS),  # listed, but not traded yet
    16: Features(funding_hours=4, holes=True, quiet_slots=0.4),
    17: Features(funding_hours=4),
    18: Features(funding_hours=8, changed=((20, 1), (9, 8))),
    19: Features(listed_ago_ms=200 * DAY_MS + 11 * HOUR_MS),
}


@dataclass(frozen=True, slots=True)
class GeneratorContext:
    """The state shared by all generated markets of a run: seed, start time, bounded caches."""

    seed: int
    start_ms: int
    chunks: RecentlyUsed[Chunk]
    days: RecentlyUsed[Ints]
    paths: PathMemory

    @classmethod
    def open(cls, seed: int, start_ms: int, markets: int) -> "GeneratorContext":
        days = max(2 * markets, 200)
        return cls(seed, start_ms, RecentlyUsed(600), RecentlyUsed(days), PathMemory())


def build_universe(context: GeneratorContext, counts: Mapping[type[Exchange], int]) -> list[Market]:
    """Makes `counts` markets to collect per exchange, and contracts that must not be collected."""
    markets: list[Market] = []
    for exchange, count in counts.items():
        for rank, (coin, spelling) in enumerate(_coins_of(exchange, count, context.seed)):
            features = _features(context, exchange.name, rank)
            markets.append(_market(context, exchange, coin, spelling, features, rank))
            if exchange.traits.spot_symbol is not None:
                symbol = exchange.traits.spot_symbol(spelling.base, "USDT")
                markets.append(_spot(context, exchange, coin, spelling, rank, symbol))
        if count:
            make = partial(_uncollected, context, exchange)
            markets += exchange.uncollected(make, context.start_ms)
    for number, market in enumerate(markets, 5):
        market.number = number
    return markets


def make_market(
    context: GeneratorContext, exchange: type[Exchange], base: str, *, listed_ms: int
) -> Market:
    """Makes a perpetual that is listed while the simulator runs."""
    features = Features(funding_hours=4, listed_ago_ms=context.start_ms - listed_ms)
    return _market(context, exchange, base, Spelling(base), features, rank=200)


def _coins_of(exchange: type[Exchange], count: int, seed: int) -> list[tuple[str, Spelling]]:
    traits = exchange.traits
    chosen: list[tuple[str, Spelling]] = []
    for index, coin in enumerate(coins(count * 2 + 40, seed)):
        if coin not in SPECIAL_USD and index % 9 == traits.leaves_out:
            continue  # not all coins are listed on all exchanges
        spelling = traits.spellings.get(coin, Spelling(coin))
        if spelling is not None and len(chosen) < count:
            chosen.append((coin, spelling))
    return chosen


def _features(context: GeneratorContext, exchange: str, rank: int) -> Features:
    if rank < 20:
        return _FIXED_FEATURES.get(rank, Features())

    def one_in(kind: str, n: int) -> bool:
        return draw(context.seed, exchange, kind, rank, n) == 0

    hours = (8, 8, 8, 4, 4, 4, 4, 4, 2, 1)[draw(context.seed, exchange, "hours", rank, 10)]
    changed: tuple[tuple[int, int], ...] = ()
    if one_in("changed", 12):
        days = 2 + draw(context.seed, exchange, "changed ago", rank, 60)
        changed = ((days + 5, 1), (days, hours))
    listed_ago_ms = None
    if one_in("young", 8):
        listed_ago_ms = (1 + draw(context.seed, exchange, "age", rank, 120 * 96)) * 15 * MINUTE_MS
    small = min(rank / 600, 0.6)
    return Features(
        funding_hours=hours,
        changed=changed,
        listed_ago_ms=listed_ago_ms,
        holes=one_in("holes", 16),
        misses_oi=one_in("misses", 16),
        special_funding=one_in("special", 30),
        quiet_slots=small * draw(context.seed, exchange, "quiet", rank, 100) / 100,
        quiet_blocks=0.2 if one_in("silent", 40) else 0.0,
    )


def _market(
    context: GeneratorContext, exchange: type[Exchange], coin: str, spelling: Spelling,
    features: Features, rank: int, quote: str = "USDT", symbol: str = "",
) -> Market:  # fmt: skip
    traits, base = exchange.traits, spelling.base
    symbol = symbol or traits.symbol(base, quote)
    name = f"{exchange.name}:{symbol}"
    asset = asset_price(context, coin, quote)
    price = asset.usual * spelling.coins / (asset.quote.usual if asset.quote else 1)
    tick_decimals = min(max(0, 4 - math.floor(math.log10(price))), 8)
    if base == "BTC":
        tick_decimals = 1
    step_decimals = max(0, min(3, math.floor(math.log10(price)) + 1))
    padding = draw(context.seed, name, "padding", 0, 3)
    if base in ("BTC", "SOL"):
        padding = 1
    price_decimals = min(tick_decimals + (padding if traits.padded_prices else 0), 8)
    tick: int = 10 ** (price_decimals - tick_decimals)
    step = traits.lot if price < 0.05 else 1  # cheap contracts are sold in lots
    quantity_decimals = step_decimals
    step_size = step / 10**quantity_decimals

    turnover_a_day = 2e10 / (1 + rank) ** 1.15 + 3e5
    if coin in BUSY:
        turnover_a_day = 4e17 / 10 ** (price_decimals + quantity_decimals)
    block_volume = max(turnover_a_day / 12 / price / step_size, 400.0)
    if features.listed_ago_ms is None:
        listed_ms = _GENESIS_MS + rank * 3 * DAY_MS if rank < 600 else _GENESIS_MS + 600 * DAY_MS
    else:
        listed_ms = context.start_ms - context.start_ms % MINUTE_MS - features.listed_ago_ms
    first_ms = listed_ms - listed_ms % SLOT_MS
    # A contract that is listed but not trading yet was listed before its first trade.
    onboard_ms = listed_ms if listed_ms <= context.start_ms else context.start_ms - HOUR_MS

    shape = Shape(
        name=name, asset=asset, seed=context.seed,
        ticks_a_unit=spelling.coins * 10.0**tick_decimals, block_volume=block_volume,
        price_decimals=price_decimals, quantity_decimals=quantity_decimals, tick=tick, step=step,
        opens_with_gaps=traits.opens_with_gaps, quiet_slots=features.quiet_slots,
        quiet_blocks=features.quiet_blocks, holes=features.holes, first_trade_ms=first_ms,
    )  # fmt: skip
    intervals = [(0, features.changed[0][1] if features.changed else features.funding_hours)]
    for days_ago, hours in features.changed:
        at_ms = context.start_ms - days_ago * DAY_MS
        intervals.append((at_ms - at_ms % (8 * HOUR_MS), hours))
    if features.changed:
        intervals[0] = (0, 8)
    level = block_volume * (2 + draw(context.seed, name, "oi level", 0, 60) / 10)
    return Market(
        exchange=exchange.name, symbol=symbol, base=base, quote=quote, margin=quote,
        contract_type=traits.contract_type, status=traits.trading,
        symbol_type=traits.symbol_type(rank),
        listed_ms=onboard_ms, delivery_ms=traits.delivery_ms,
        price_decimals=price_decimals, quantity_decimals=quantity_decimals, tick=tick, step=step,
        candles=GeneratedCandles(shape, context.chunks, context.days),
        open_interest=GeneratedOpenInterest(
            name, context.seed, level, step, first_ms + 1, features.misses_oi
        ),
        funding=GeneratedFunding(
            name, context.seed, first_ms, intervals, traits.late_funding,
            features.special_funding and traits.special_funding,
        ),
        collected=True,
        single_oi_from_ms=context.start_ms - context.start_ms % DAY_MS - _SINGLE_OI_DAYS * DAY_MS,
        listed_in_info=features.funding_hours != 8 or rank % 2 == 0,
        open_interest_kept_ms=traits.open_interest_kept_ms,
    )  # fmt: skip


def _uncollected(
    context: GeneratorContext, exchange: type[Exchange], base: str, rank: int, quote: str,
    life: str,
) -> Market:  # fmt: skip
    """A contract that must not be collected; `life` is trading, awaited or settled."""
    features = Features(listed_ago_ms=-30 * DAY_MS if life == "awaited" else None)
    market = _market(context, exchange, base, Spelling(base), features, rank, quote)
    if life == "settled" and isinstance(market.candles, GeneratedCandles):
        market.candles.end_at(context.start_ms - 100 * DAY_MS)
    market.collected = False
    return market


def _spot(
    context: GeneratorContext, exchange: type[Exchange], coin: str, spelling: Spelling, rank: int,
    symbol: str,
) -> Market:  # fmt: skip
    """The spot market of a coin: a series of its own, without open interest and funding."""
    market = _market(context, exchange, coin, spelling, Features(), rank, symbol=symbol)
    market.contract_type = "SPOT"
    market.collected = False
    market.open_interest = GeneratedOpenInterest(market.name, context.seed, 0.0, 1, FAR_MS, False)
    market.funding = GeneratedFunding(market.name, context.seed, FAR_MS, [(0, 8)], False, False)
    return market


def asset_price(context: GeneratorContext, asset: str, quote: str = "USDT") -> AssetPrice:
    """The price that the markets of `asset` follow on every exchange."""
    other = asset_price(context, quote) if quote == "BTC" else None  # else a dollar
    usual = usual_usd(asset, context.seed)
    return AssetPrice(context.seed, asset, usual, daily_volatility(asset), context.paths, other)
