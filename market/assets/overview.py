"""The overview: the figures of every asset over exchanges, at one common instant.

- An asset's markets are those whose base names it (names.py). A market that is stale, ends before
  the others, has no candle that ended at the instant, or whose price for one coin is not that of
  the others (prices.py), is not summed: `left_out` names it with the reason.
- Open interest is counted one-sided, as each contract has one long and one short side, of which
  one is counted (https://fincyclopedia.net/derivatives/o/open-interest). In quote units it is each
  market's own number of coins times its own price at the same instant.
- A change compares sums over the same markets: those that tell both instants. A market listed in
  between, or one with a hole, would seem to be one.
- The mean rate is sum(rate_8h * open interest in quote) / sum(open interest in quote), as told in
  https://docs.coinglass.com/reference/oi-weight-ohlc-history and
  https://docs.coinkarma.co/english/indicators-guide/oi-weighted-funding-rate.
- The spread is (highest - lowest) / lowest of the prices at the instant: what buying at the one
  and selling at the other would have brought, without fees.

A sum exists only over markets that have it, and says of which exchanges these are.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from typing import Final, cast

from market.assets.figures import (
    CHANGES_MS,
    AssetFigures,
    Change,
    ChangeSum,
    Funding,
    FundingMean,
    LeftOutMarket,
    MarketFigures,
    OpenInterest,
    OpenInterestSum,
    Overview,
    Spread,
    TurnoverSum,
)
from market.assets.names import asset_of
from market.assets.prices import LARGEST_FACTOR, agreement
from market.assets.readings import (
    NORMAL_HOURS,
    YEAR_HOURS,
    MarketHistory,
    Reading,
    common_instant,
    funding_at,
    reading_of,
)
from market.base import STEP_MS
from market.markets import FundingByMarket
from market.timeframes import DAY_MS

_BASIS_POINTS: Final = 10_000
DAY_CANDLES: Final = DAY_MS // STEP_MS


@dataclass(slots=True)
class _Member:
    """A market of an asset, with its coins and their value in quote units at each instant of its
    reading. `reason`: why it is not summed, if so. `stale_since_ms`: since when nothing new is
    known of it, as told or by its last closed candle."""

    history: MarketHistory
    units: int
    reading: Reading
    funding: Funding | None
    coins: Sequence[float | None]
    quote: Sequence[float | None]
    stale_since_ms: int | None
    reason: str | None

    @property
    def exchange(self) -> str:
        return self.history.market.exchange

    @property
    def price(self) -> float | None:
        """Of one coin, at the instant."""
        price = self.reading.prices[0]
        return None if price is None else price / self.units

    def figures(self) -> MarketFigures:
        market = self.history.market
        return MarketFigures(
            exchange=market.exchange,
            symbol=market.symbol,
            base=market.base,
            units=self.units,
            summed=self.reason is None,
            stale_since=self.stale_since_ms,
            price=self.price,
            open_interest=OpenInterest(self.coins[0], self.quote[0]),
            change={name: self._change(then) for then, name in enumerate(CHANGES_MS, 1)},
            funding=self.funding,
            turnover_24h=self.reading.turnover,
        )

    def ends(self, then: int) -> tuple[float, float, float, float] | None:
        """Coins now and then, and quote units now and then; None if one is not known."""
        coins, quote = self.coins, self.quote
        ends = coins[0], coins[then], quote[0], quote[then]
        return None if None in ends else cast(tuple[float, float, float, float], ends)

    def _change(self, then: int) -> Change | None:
        ends = self.ends(then)
        if ends is None:
            return None
        coins_now, coins_then, quote_now, quote_then = ends
        coins, quote = coins_now - coins_then, quote_now - quote_then
        return Change(
            coins,
            coins / coins_then if coins_then else None,
            quote,
            quote / quote_then if quote_then else None,
        )


def overview_of(
    histories: Collection[MarketHistory],
    funding: FundingByMarket,
    as_of_ms: int,
    instants: tuple[int, int] | None = None,
) -> Overview:
    """The figures of all assets of these markets, of which none comes twice.

    `as_of_ms`: up to when the histories and the funding are known, UTC ms. `instants`: the common
    instant of more markets than these, as common_instant gives it. CPU work, about 60 us a market.
    """
    instants = instants or common_instant(histories)
    if instants is None:
        return Overview(None, ())
    at_ms, newest_ms = instants
    members: dict[str, list[_Member]] = {}
    for history in sorted(histories, key=lambda each: each.market):
        market = history.market
        name, units = asset_of(market.base)
        reading = reading_of(history, at_ms)
        member = _Member(
            history,
            units,
            reading,
            funding_at(funding.get(market.key), at_ms, as_of_ms),
            [_product(interest, units) for interest in reading.interest],
            [_product(*each) for each in zip(reading.interest, reading.prices, strict=True)],
            _stale_since(history, newest_ms),
            _unusable(history, reading, at_ms, newest_ms),
        )
        members.setdefault(name, []).append(member)
    return Overview(at_ms, [_asset(name, members[name]) for name in sorted(members)])


def _stale_since(history: MarketHistory, newest_ms: int) -> int | None:
    closed_ms, told_ms = history.closed_ms, history.stale_since_ms
    if told_ms is None and closed_ms is not None and closed_ms < newest_ms:
        return closed_ms
    return told_ms


def _unusable(history: MarketHistory, reading: Reading, at_ms: int, newest_ms: int) -> str | None:
    """Why the market tells nothing of this instant, if so."""
    closed_ms, stale_ms = history.closed_ms, history.stale_since_ms
    if stale_ms is not None:
        return f"its rows are carried over since {stale_ms}"
    if closed_ms is None:
        return "it has no closed candle"
    if closed_ms < newest_ms:
        return f"its last closed candle ended at {closed_ms}, that of others at {newest_ms}"
    if reading.prices[0] is None:
        return f"it has no candle that ended at {at_ms}"
    return None


def _asset(name: str, members: Sequence[_Member]) -> AssetFigures:
    """The figures over the markets of one asset."""
    median = _leave_out_other_coins([each for each in members if each.reason is None])
    summed = [member for member in members if member.reason is None]
    return AssetFigures(
        asset=name,
        open_interest=_open_interest(summed),
        change={name: _change_sum(summed, then) for then, name in enumerate(CHANGES_MS, 1)},
        funding=_mean_funding(summed),
        turnover_24h=_turnover(summed),
        price=_spread(summed, median),
        markets=[member.figures() for member in members],
        left_out=[
            LeftOutMarket(member.exchange, member.history.market.symbol, member.reason)
            for member in members
            if member.reason is not None
        ],
    )


def _leave_out_other_coins(members: Sequence[_Member]) -> float | None:
    """Gives the markets whose prices are of another coin their reason; returns the weighted median
    price, None where nobody can tell which coin the name means."""
    prices = [member.price for member in members]
    known = [price for price in prices if price is not None]  # all are: else it is not usable
    if not known:
        return None
    found = agreement(known, _weights(members))
    for member, price, agrees in zip(members, known, found.agrees, strict=True):
        if not found.decided:
            told = ", ".join(f"{each:.6g}" for each in sorted(known))
            member.reason = (
                f"prices for one coin differ by more than a factor of {LARGEST_FACTOR:g} ({told}), "
                "and nothing tells which markets are of this asset: none is summed"
            )
        elif not agrees:
            member.reason = (
                f"its price for one coin, {price:.6g}, differs from {found.median:.6g}, the median "
                f"of the asset's markets, by more than a factor of {LARGEST_FACTOR:g}"
            )
    return found.median if found.decided else None


def _weights(members: Sequence[_Member]) -> list[float]:
    """How much each price counts: by open interest in quote units if all markets tell it, else by
    turnover if all do, else all the same."""
    interest = [value for member in members if (value := member.quote[0]) is not None]
    if len(interest) == len(members):
        return interest
    turnovers = [each.quote for member in members if (each := member.reading.turnover) is not None]
    return turnovers if len(turnovers) == len(members) else [1.0] * len(members)


def _open_interest(members: Iterable[_Member]) -> OpenInterestSum:
    there = [each for each in members if each.coins[0] is not None and each.quote[0] is not None]
    return OpenInterestSum(
        _sum(each.coins[0] for each in there),
        _sum(each.quote[0] for each in there),
        _exchanges(there),
    )


def _change_sum(members: Iterable[_Member], then: int) -> ChangeSum | None:
    """Over the markets that tell both instants."""
    there, found = [], []
    for each in members:
        ends = each.ends(then)
        if ends is not None:
            there.append(each)
            found.append(ends)
    if not there:
        return None
    coins_now, coins_then, quote_now, quote_then = zip(*found, strict=True)
    return ChangeSum(
        *_changed(coins_now, coins_then), *_changed(quote_now, quote_then), _exchanges(there)
    )


def _changed(now: Sequence[float], then: Sequence[float]) -> tuple[float, float | None]:
    """The change of the sum, and as a fraction of `then`, None if that is 0."""
    change, base = fsum([*now, *(-value for value in then)]), fsum(then)
    return change, change / base if base else None


def _mean_funding(members: Iterable[_Member]) -> FundingMean:
    """Over the markets that have both a rate and open interest."""
    there = [
        (each, each.funding.rate_8h, quote)
        for each in members
        if each.funding is not None and (quote := each.quote[0]) is not None
    ]
    weight = fsum(quote for _, _, quote in there)
    if not weight:
        return FundingMean(None, None, ())
    rate_8h = fsum(rate * quote for _, rate, quote in there) / weight
    rate_year = rate_8h * YEAR_HOURS / NORMAL_HOURS
    return FundingMean(rate_8h, rate_year, _exchanges(each for each, _, _ in there))


def _turnover(members: Iterable[_Member]) -> TurnoverSum:
    there = [(each, told) for each in members if (told := each.reading.turnover) is not None]
    return TurnoverSum(
        _sum(told.quote for _, told in there),
        _exchanges(each for each, _ in there),
        _exchanges(each for each, told in there if told.candles < DAY_CANDLES),
    )


def _spread(members: Sequence[_Member], median: float | None) -> Spread:
    there = [(price, each) for each in members if (price := each.price) is not None]
    if not there:
        return Spread(median, None, None, None, None, None, ())
    lowest, at_lowest = min(there, key=lambda each: each[0])
    highest, at_highest = max(there, key=lambda each: each[0])
    return Spread(
        median,
        lowest,
        at_lowest.exchange,
        highest,
        at_highest.exchange,
        (highest - lowest) / lowest * _BASIS_POINTS if len(there) > 1 else None,
        _exchanges(members),
    )


def _sum(values: Iterable[float | None]) -> float | None:
    """None of nothing."""
    known = [value for value in values if value is not None]
    return fsum(known) if known else None


def _product(number: float | None, factor: float | None) -> float | None:
    """None also where no float64 holds it."""
    if number is None or factor is None:
        return None
    return product if isfinite(product := number * factor) else None


def _exchanges(members: Iterable[_Member]) -> Sequence[str]:
    return sorted({member.exchange for member in members})
