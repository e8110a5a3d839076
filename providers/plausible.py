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

    def doubt(self, record: Record, last: Record | None, now_ms: int) -> Doubt | None:
        """Why the value is not believed on one word; None if it is. `last`: the last good one."""
        value = magnitude(record)
        if value is None:
            return None
        if isinstance(record, Price) and self._is_off_peg(record):
            return Doubt(f"{record.asset} is worth {value} {record.quote}", held=True)
        before = None if last is None else magnitude(last)
        if last is None or before is None:
            first = isinstance(record, Price)
            return Doubt("it is the first value", held=False) if first else None
        age_s = (now_ms - last.fetched_at_ms) / 1000
        for oldest_s, factor in _JUMPS.get(type(record), ()):
            if age_s <= oldest_s:
                jump = max(value, before) / max(min(value, before), Decimal("1e-30"))
                if jump <= factor:
                    return None
                return Doubt(f"{value} after {before} {age_s:.0f} s ago", held=True)
        return None

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
