"""The shape of a simulated exchange: what general code asks of it and each one answers itself.

Adding one: a subclass of `Exchange` in a file (or package) of its own, and a line in
`simulator/exchanges.py`.
"""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from simulator.answers import Answer, error_page
from simulator.exchange_markets import ExchangeMarkets
from simulator.market import Market
from simulator.parameters import Query
from simulator.recorded_files import RecordedSeries
from simulator.stats import Stats

# base, rank, quote, life (trading, awaited or settled) -> a market not yet marked as what it is
MakeMarket = Callable[[str, int, str, str], Market]


class Spelling(NamedTuple):
    """What an exchange calls a coin's contract, and how many coins one unit of it holds."""

    base: str
    coins: int = 1


class FaultKind(NamedTuple):
    """A kind of fault that one exchange alone has."""

    says: str
    fields: tuple[str, ...] = ()  # fields that only such a rule has
    needs: tuple[str, ...] = ()  # those of them that must be there, as whole numbers


class Admission(NamedTuple):
    """What the limits say of a request."""

    counter: str  # the one that it drew on
    headers: Mapping[str, str] = {}
    refused: Answer | None = None


class ListedContract(NamedTuple):
    """What a recorded list says of one contract."""

    base: str
    quote: str
    margin: str
    contract_type: str
    status: str
    symbol_type: str
    listed_ms: int
    delivery_ms: int
    wanted: bool  # a collector must collect it


@dataclass(frozen=True, slots=True)
class BodyShape:
    """Where answers hold their rows and numbers, for faults that spoil them."""

    rows_at: tuple[tuple[str, ...], ...] = ((),)  # keys on the way to the list of rows
    open_interest: tuple[str, ...] = ("openInterest",)
    rates: tuple[str, ...] = ("fundingRate",)
    times: tuple[str, ...] = ("timestamp", "fundingTime")


@dataclass(frozen=True, slots=True)
class MarketTraits:
    """How the generated markets of one exchange look in its lists and its series."""

    contract_type: str = "PERPETUAL"  # of a perpetual
    trading: str = "TRADING"  # status of a market that trades
    delisted: str = "CLOSED"  # and of one that is gone
    delivery_ms: int = 0  # of a perpetual that stays
    symbol_type: Callable[[int], str] = lambda rank: ""
    # Coins whose contract has another name than the coin; None: not listed there.
    spellings: Mapping[str, Spelling | None] = field(default_factory=dict)
    leaves_out: int | None = None  # of nine coins one is not listed: which
    padded_prices: bool = False  # prices have more decimals than the tick needs
    lot: int = 1  # steps in which cheap contracts are sold
    opens_with_gaps: bool = False  # a candle may open a tick beside the last close
    late_funding: bool = False  # settlements are stamped some milliseconds late
    special_funding: bool = False
    open_interest_kept_ms: int | None = None  # snapshots older than this are not served


class Exchange(ABC):
    """One simulated exchange. It answers one request at a time from the markets' numbers."""

    name: ClassVar[str]
    title: ClassVar[str]
    prefixes: ClassVar[tuple[str, ...]]  # of the paths that are its own
    paths: ClassVar[Mapping[str, str]]  # path -> endpoint
    page_rows: ClassVar[Mapping[str, int]] = {}  # endpoint -> rows where no limit is given
    traits: ClassVar[MarketTraits] = MarketTraits()
    shape: ClassVar[BodyShape] = BodyShape()
    fault_kinds: ClassVar[Mapping[str, FaultKind]] = {}

    def __init__(self, markets: ExchangeMarkets, stats: Stats, options: argparse.Namespace) -> None:
        self.markets = markets
        self.stats = stats

    @classmethod  # noqa: B027 - not every exchange has options
    def add_options(cls, group: Any) -> None:
        """Adds the options of this exchange's limits to the command line."""

    def now_ms(self) -> int:
        return self.markets.clock.now_ms(self.name)

    # --- answers

    @abstractmethod
    def answer(self, endpoint: str, query: Query) -> Answer:
        """The answer to a request that the limits let through."""

    def admit(self, client: str, endpoint: str, query: Query) -> Admission:
        """Counts a request against the limits. Without an own version nothing is limited."""
        return Admission(self.name)

    def forget_limits(self) -> None:  # noqa: B027 - nor limits
        """Empties all windows, ends all bans."""

    def unknown_path(self) -> Answer:
        return error_page(404)

    def body_refused(self) -> Answer | None:
        """What answers a GET with a body, where that is not taken."""
        return None

    # --- faults

    def bad_status(self, status: int, rule: Mapping[str, Any], client: str, counter: str) -> Answer:
        """An HTTP error as the exchange words it, kept to where it lasts."""
        return worded(status, rule) or error_page(status)

    def geo_blocked(self) -> Answer:
        """Blocked by country: waiting does not help."""
        return self.bad_status(451, {}, "", self.name)

    def own_fault(self, rule: Mapping[str, Any], endpoint: str, query: dict[str, str]) -> Answer:
        """The answer for one of `fault_kinds`."""
        raise NotImplementedError(str(rule["kind"]))

    # --- markets

    @classmethod
    def uncollected(cls, make: MakeMarket, start_ms: int) -> list[Market]:
        """Contracts that share the lists and must not be collected."""
        return []

    @classmethod
    def recorded_lists(cls, folder: Path) -> dict[str, dict[str, Any]]:
        """Recorded lists by name; the one named like the exchange holds its contracts by symbol.

        Raises OSError where one is missing.
        """
        return {cls.name: {}}

    @classmethod
    def recorded_bodies(cls, folder: Path) -> list[RecordedSeries]:
        """Series that were recorded as answers rather than as tables."""
        return []

    @classmethod
    def listed_contract(cls, entry: Mapping[str, Any]) -> ListedContract:
        """One entry of the recorded list of contracts."""
        raise NotImplementedError(cls.name)


def worded(status: int, rule: Mapping[str, Any]) -> Answer | None:
    """The body that a rule asks for in place of the usual one."""
    text = str(rule.get("text", ""))
    return Answer(status, text.encode(), "text/plain; charset=utf-8") if text else None
