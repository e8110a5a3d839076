"""CachedAnswers: what answers a question to an exchange from the cache, exactly or not at all."""

from dataclasses import dataclass
from typing import Protocol

from facade.exchange_times import KnownTime
from facade.question import Question
from market.markets import Exchange


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer of status 200. `parts`: its body, and what ends that, which tells the time at some
    exchanges; `age_s`: since the exchange was asked."""

    parts: tuple[bytes, bytes]
    age_s: float

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)


class CachedAnswers(Protocol):
    """Answers from what is kept here. No method raises an error of a store: without it nothing is
    known."""

    def now_ms(self, exchange: Exchange) -> int:
        """The exchange's time, as it told it last; the host's where it has told none lately."""
        ...

    def time(self, exchange: Exchange) -> KnownTime:
        """As `now_ms`, and how well it is known."""
        ...

    def at_once(self, question: Question, time: KnownTime) -> CachedAnswer | None:
        """As `answer`, where that needs no wait; None: it may still be known."""
        ...

    async def answer(self, question: Question, time: KnownTime) -> CachedAnswer | None:
        """What the exchange would answer at that time, its own; None where only it knows."""
        ...

    def lacks_contract(self, question: Question) -> bool:
        """Whether it was left to the exchange as it was not known how large its contract is."""
        ...

    async def market(self, question: Question) -> str | None:
        """Our symbol of the market that it is about; None if the exchange lists none of its name,
        as far as is known."""
        ...

    def passed(self, question: Question, body: bytes, asked_ms: int) -> None:
        """Takes the body of the exchange's own answer of status 200, which it was asked for at
        `asked_ms`, its time: what it tells is answered from here afterwards. Never waits."""
        ...

    def dated(self, exchange: Exchange, date_ms: int) -> None:
        """Takes the second in which the exchange has just answered, by its headers."""
        ...
