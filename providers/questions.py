"""Questions: what is asked of a chain, for which subjects, and what holds for each kind."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final


class Kind(StrEnum):
    PRICE = "price"
    NEWS = "news"
    SENTIMENT = "sentiment"
    GAS = "gas"
    STATS = "stats"
    BALANCE = "balance"
    RPC = "rpc"
    WHALES = "whales"


@lru_cache(maxsize=1024)
def kind_of(chain: str) -> Kind:
    """The kind of question that a chain answers. Raises ValueError for what is no chain."""
    return Kind(chain.partition(".")[0])


@dataclass(frozen=True, slots=True)
class Question:
    """`chain`: the registry's chain, such as `price.aggregate` or `balance.ethereum`. `subjects`:
    what is asked about, each answered by records of its own: asset ids, a chain's name, an address,
    or MARKET. `options`: pairs that change the answer, sorted (`("quote", "usd")`)."""

    chain: str
    subjects: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> Kind:
        return kind_of(self.chain)

    def option(self, name: str, default: str = "") -> str:
        return dict(self.options).get(name, default)

    def name_of(self, subject: str) -> str:
        """The subject with the options: what a provider has of it in one quote, it may lack in
        another."""
        told = ",".join(f"{name}={value}" for name, value in self.options)
        return f"{subject}?{told}" if told else subject

    def of(self, subjects: tuple[str, ...]) -> "Question":
        return Question(self.chain, subjects, self.options)

    def __str__(self) -> str:
        return f"{self.chain} of {', '.join(self.subjects)}"


INTERACTIVE_S: Final = 3.0
AGENT_S: Final = 20.0
# How old the last value may be that is given while nobody answers, in seconds. Balances and RPC
# answers are never given twice.
STALE_LIMIT_S: Final = {
    Kind.PRICE: 300.0,
    Kind.GAS: 120.0,
    Kind.NEWS: 86_400.0,
    Kind.SENTIMENT: 93_600.0,
    Kind.STATS: 3_600.0,
    Kind.WHALES: 3_600.0,
    Kind.BALANCE: 0.0,
    Kind.RPC: 0.0,
}
