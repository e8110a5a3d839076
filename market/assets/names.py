"""Asset: which asset a contract is of, and how many coins of it its base counts as one.

Exchanges quote cheap coins by the thousand or million, each in its own way: 1000PEPE, SHIB1000,
10000SATS, 1MBABYDOGE. One rule reads all of them, without a table of names.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

# A power of ten from 1000 on, or 1M, before or behind a name. What is left must be readable: it
# begins with a letter and has another sign, three behind 1M, so that 1INCH, 1000X, 42, 0G and a
# coin named 1MT are names.
_PREFIXED: Final = re.compile(r"1(0{3,9})([^\W\d_]\w+)")
_MILLIONS: Final = re.compile(r"1M([^\W\d_]\w{2,})")
_SUFFIXED: Final = re.compile(r"([^\W\d_]\w*[^\W\d_])1(0{3,9})")


class Asset(NamedTuple):
    """The name of an asset, in upper case, and how many of its coins one base unit is."""

    name: str
    units: int


@lru_cache(10_000)
def asset_of(base: str) -> Asset:
    """The asset of a market's base: ("PEPE", 1000) of 1000PEPE, ("1INCH", 1) of 1INCH.

    The name alone is read. Two coins may share one: market/assets/prices.py judges by prices.
    """
    name = base.upper()
    if found := _PREFIXED.fullmatch(name):
        return Asset(found[2], 10 ** len(found[1]))
    if found := _MILLIONS.fullmatch(name):
        return Asset(found[1], 10**6)
    if found := _SUFFIXED.fullmatch(name):
        return Asset(found[1], 10 ** len(found[2]))
    return Asset(name, 1)
