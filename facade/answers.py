"""CachedAnswers: what answers a question to an exchange from the cache, exactly or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from facade.venue import PublicPath
from market.markets import Exchange


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """The body of an answer of status 200; `age_s`: since the exchange was asked."""

    body: bytes
    age_s: float


class CachedAnswers(Protocol):
    """Answers from what is kept here."""

    async def answer(
        self, exchange: Exchange, path: PublicPath, query: Mapping[str, str], now_ms: int
    ) -> CachedAnswer | None:
        """What the exchange would answer at `now_ms`, its time; None where only it knows.

        `query`: the parameters that `path` has, each once. Raises nothing of the stores: without
        them nothing is known.
        """
        ...
