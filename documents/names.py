"""The names of the documents: one per timeframe, and `global_fr` for all funding rates."""

from typing import Final

from market.timeframes import Timeframe

GLOBAL_FR: Final = "global_fr"
DOCUMENTS: Final = (*map(str, Timeframe), GLOBAL_FR)
