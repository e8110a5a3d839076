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
    """Answers from what is kept here. No method raises an error of a store: without it nothing is
    known."""

    def now_ms(self, exchange: Exchange) -> int:
        """The exchange's time, as it told it last; the host's where it has told none lately."""
        ...

    def knows_time(self, exchange: Exchange) -> bool:
        """Whether the exchange has told its time lately."""
        ...

    async def answer(
        self, exchange: Exchange, path: PublicPath, query: Mapping[str, str], now_ms: int
    ) -> CachedAnswer | None:
        """What the exchange would answer at `now_ms`, its time; None where only it knows.

        `query`: the parameters that `path` has, each once.
        """
        ...

    def passed(
        self,
        exchange: Exchange,
        path: PublicPath,
        query: Mapping[str, str],
        body: bytes,
        asked_ms: int,
    ) -> None:
        """Takes the body of the exchange's own answer of status 200, which it was asked for at
        `asked_ms`, its time: what it tells is answered from here afterwards. Never waits."""
        ...

    def dated(self, exchange: Exchange, date_ms: int) -> None:
        """Takes the second in which the exchange has just answered, by its headers."""
        ...
