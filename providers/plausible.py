"""Plausibility of values: which one is not believed on the word of one source, and when two agree.

A provider's mistake is often a factor: another unit, another coin of the same name. A value that
jumps is held back until a second source, which does not copy the first, tells the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from providers.assets import Assets, UnknownAsset
from providers.records import GasPrice, Price, Record
from providers.resources import Resource

PEG_OFF: Final = Decimal("0.05")
NEAR: Final = Decimal("0.05")  # two sources agree within this share of the greater
# How far a value may be from the last one, as a factor, by how old that is at most, in s.
_JUMPS: Final = {
    Price: ((600.0, Decimal("1.25")), (3_600.0, Decimal("1.5")), (86_400.0, Decimal(10))),
    GasPrice: ((600.0, Decimal(50)), (3_600.0, Decimal(500))),
}
# How far prices of one asset of different kinds are apart at most, and for how long one is a
# measure for another.
_KINDS_DIFFER: Final = Decimal("1.25")
_MEASURES_MS: Final = 3_600_000
# Gas moves between two looks.
_AGREE: Final = {Price: NEAR, GasPrice: Decimal("0.5")}
# Who tells what another has told, is no second witness.
_COPIES: Final = {"defillama": "coingecko", "coingecko_community": "coingecko"}


@dataclass(frozen=True, slots=True)
class Doubt:
    """`held`: not given on one word; otherwise a second source is asked, and is not waited for
    where there is none."""

    reason: str
    held: bool


class Plausible:
    def __init__(self, assets: Assets) -> None:
        self._assets = assets

    def doubt(
        self, record: Record, last: Record | None, now_ms: int, other: Record | None = None
    ) -> Doubt | None:
        """Why the value is not believed on one word; None if it is. `last`: the last good one;
        `other`: the same asset's price of another kind."""
        value = magnitude(record)
        if value is None:
            return None
        if isinstance(record, Price) and self._is_off_peg(record):
            return Doubt(f"{record.asset} is worth {value} {record.quote}", held=True)
        before = None if last is None else magnitude(last)
        if last is None or before is None:
            return self._doubt_first(record, value, other, now_ms)
        age_s = (now_ms - last.fetched_at_ms) / 1000
        for oldest_s, factor in _JUMPS.get(type(record), ()):
            if age_s <= oldest_s:
                jump = max(value, before) / max(min(value, before), Decimal("1e-30"))
                if jump <= factor:
                    return None
                return Doubt(f"{value} after {before} {age_s:.0f} s ago", held=True)
        return None

    def _doubt_first(
        self, record: Record, value: Decimal, other: Record | None, now_ms: int
    ) -> Doubt | None:
        if not isinstance(record, Price):
            return None
        measure = None if other is None else magnitude(other)
        if other is None or measure is None or now_ms - other.fetched_at_ms > _MEASURES_MS:
            return Doubt("it is the first value", held=False)
        if max(value, measure) <= _KINDS_DIFFER * min(value, measure):
            return None
        return Doubt(f"{value} while {other.resource} tells {measure}", held=True)

    def _is_off_peg(self, price: Price) -> bool:
        try:
            peg = self._assets.find(price.asset).peg
        except UnknownAsset:
            return False
        if peg is None or price.quote.upper().removesuffix("T").removesuffix("C") != peg.upper():
            return False
        return abs(price.value - 1) > PEG_OFF


def agree(one: Record, other: Record) -> bool:
    """Whether two records tell the same value."""
    first, second = magnitude(one), magnitude(other)
    if first is None or second is None or type(one) is not type(other):
        return False
    return abs(first - second) <= _AGREE.get(type(one), NEAR) * max(first, second)


def are_two(one: Resource, other: Resource) -> bool:
    """Whether two resources are two witnesses."""
    return _origin(one) != _origin(other)


def _origin(resource: Resource) -> str:
    copies: Mapping[str, str] = _COPIES
    return copies.get(resource.provider.id, resource.provider.id)


def magnitude(record: Record) -> Decimal | None:
    """The number by which a record is judged; None where there is none."""
    match record:
        case Price(value=value):
            return value
        case GasPrice():
            fee = (
                record.base_fee_wei
                or record.max_fee_standard_wei
                or record.priority_standard_wei
                or record.fee_standard_sat_per_kvb
            )
            return Decimal(fee) if fee else None
        case _:
            return None
