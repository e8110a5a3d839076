"""The names of the documents: each timeframe, `global_fr`, and the bases of each exchange."""

from typing import Final

from market.markets import Exchange
from market.timeframes import Timeframe

GLOBAL_FR: Final = "global_fr"
# What is served.
DOCUMENTS: Final = (*map(str, Timeframe), GLOBAL_FR)


def base_name(exchange: Exchange) -> str:
    """The name of the document of an exchange's bases, which only workers read."""
    return f"base:{exchange}"


BASES: Final = tuple(map(base_name, Exchange))
