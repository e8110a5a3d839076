"""PreviousSeries: the series of an earlier document, from which a run takes what it can use again.

A document that is held in memory gives its series up one by one, as the run replaces them.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Final

from market.markets import MarketSeries, Meta

SAMPLED_SERIES: Final = 100  # of each exchange


class PreviousSeries(Mapping[str, MarketSeries]):
    """The series of a document by Market.key, each until the run has added its new one.

    Access raises UnreadableSeries if a stored market's rows cannot be read.
    """

    @property
    def version(self) -> int | None:
        """The version of the document; None if it is not known."""
        return None

    @property
    def is_ours(self) -> bool:
        """Whether this process has made the document: its rows need no check."""
        return False

    @abstractmethod
    def metas(self) -> dict[str, Meta]:
        """Each market's `meta`, such as its Hurst exponent, by Market.key."""

    def sample(self) -> Mapping[str, MarketSeries]:
        """Series that tell how far the document reaches: at least the first SAMPLED_SERIES of each
        exchange, with their first and newest row. They stay while the run replaces the others."""
        return self


def sample_of(series: Mapping[str, MarketSeries]) -> Mapping[str, MarketSeries]:
    """The sample of a document's series; they themselves if none of them goes away."""
    return series.sample() if isinstance(series, PreviousSeries) else series
