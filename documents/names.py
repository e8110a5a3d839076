"""The names of the documents: timeframes, `global_fr`, `overview`, and the bases of exchanges."""

from typing import Final

from market.markets import Exchange
from market.timeframes import Timeframe

GLOBAL_FR: Final = "global_fr"
OVERVIEW: Final = "overview"
# The documents of rows, which the record and tables are of.
DOCUMENTS: Final = (*map(str, Timeframe), GLOBAL_FR)
# What is served, and told of by events: these, and what is made of them.
SERVED: Final = (*DOCUMENTS, OVERVIEW)


def base_name(exchange: Exchange) -> str:
    """The name of the document of an exchange's bases, which only workers read."""
    return f"base:{exchange}"


BASES: Final = tuple(map(base_name, Exchange))
