"""The interface of a simulated exchange, with defaults that each exchange may override.

To add an exchange, write a subclass of `Exchange` in a file or package of its own, and add it to
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
from simulator.streams.exchange import StreamExchange

# base, rank, quote, life (trading, awaited or settled) -> a market that its exchange still labels
MakeMarket = Callable[[str, int, str, str], Market]


class Spelling(NamedTuple):
    """An exchange's name for a coin's contract, and the number of coins in one unit of it."""

    base: str
    coins: int = 1


class FaultKind(NamedTuple):
    """A kind of fault that only one exchange has."""

    says: str
    fields: tuple[str, ...] = ()  # fields that only rules of this kind have
    needs: tuple[str, ...] = ()  # required fields, whole numbers


class Admission(NamedTuple):
    """The rate limits' decision about a request."""

    counter: str  # the counter that the request was counted in
    headers: Mapping[str, str] = {}
    refused: Answer | None = None


class ListedContract(NamedTuple):
    """One contract of a recorded list."""

    base: str
    quote: str
    margin: str
    contract_type: str
    status: str
    symbol_type: str
    listed_ms: int
    delivery_ms: int
    wanted: bool  # whether a collector must collect it


@dataclass(frozen=True, slots=True)
class BodyShape:
    """Where answers hold their rows and numbers, for faults that damage them."""

    rows_at: tuple[tuple[str, ...], ...] = ((),)  # keys on the way to the list of rows
    open_interest: tuple[str, ...] = ("openInterest",)
    volume_place: int = 5  # in a candle, which is a list
    interest_place: int = -1  # where snapshots of open interest are lists, too
    rates: tuple[str, ...] = ("fundingRate",)
    times: tuple[str, ...] = ("timestamp", "fundingTime")
    symbol: str = "symbol"  # of entries about markets
    status: str = "status"  # of those in lists of contracts


@dataclass(frozen=True, slots=True)
class MarketTraits:
    """Properties of one exchange's generated markets, in its lists and series."""

    contract_type: str = "PERPETUAL"  # of a perpetual
    trading: str = "TRADING"  # status of a market that trades
    delisted: str = "CLOSED"  # status of a delisted market
    delivery_ms: int = 0  # delivery time of a listed perpetual
    symbol_type: Callable[[int], str] = lambda rank: ""
    # base, quote -> the market's name; of its spot market, if the exchange has those, too
    symbol: Callable[[str, str], str] = lambda base, quote: base + quote
    spot_symbol: Callable[[str, str], str] | None = None
    # Coins whose contract has another name than the coin; None: not listed on this exchange.
    spellings: Mapping[str, Spelling | None] = field(default_factory=dict)
    leaves_out: int | None = None  # one of nine coins is not listed: its index modulo 9
    padded_prices: bool = False  # prices have more decimals than the tick needs
    lot: int = 1  # quantity step of cheap contracts
    opens_with_gaps: bool = False  # a candle may open one tick away from the last close
    late_funding: bool = False  # settlements are stamped some milliseconds late
    special_funding: bool = False
    open_interest_kept_ms: int | None = None  # snapshots older than this are not served


class Exchange(ABC):
    """One simulated exchange, which answers requests from the markets' data."""

    name: ClassVar[str]
    title: ClassVar[str]
    prefixes: ClassVar[tuple[str, ...]]  # prefixes of this exchange's paths
    paths: ClassVar[Mapping[str, str]]  # path -> endpoint
    page_rows: ClassVar[Mapping[str, int]] = {}  # endpoint -> rows without a limit parameter
    symbol_parameter: ClassVar[str] = "symbol"  # the parameter that names a request's market
    traits: ClassVar[MarketTraits] = MarketTraits()
    shape: ClassVar[BodyShape] = BodyShape()
    fault_kinds: ClassVar[Mapping[str, FaultKind]] = {}
    streams: ClassVar[type[StreamExchange] | None] = None  # its WebSockets (simulator/streams/)

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
        """Answers a request that the rate limits have admitted."""

    def admit(self, client: str, endpoint: str, query: Query) -> Admission:
        """Counts a request against the rate limits; by default nothing is limited."""
        return Admission(self.name)

    def reset_limits(self) -> None:  # noqa: B027 - not every exchange has limits
        """Empties all windows, ends all bans."""

    def unknown_path(self) -> Answer:
        return error_page(404)

    def body_refused(self) -> Answer | None:
        """The answer to a GET with a body, or None if the exchange accepts it."""
        return None

    # --- faults

    def bad_status(self, status: int, rule: Mapping[str, Any], client: str, counter: str) -> Answer:
        """An HTTP error in the exchange's format; a ban it states is enforced."""
        return own_text(status, rule) or error_page(status)

    def long_message(self, length: int) -> Answer:
        """An error about wrong parameters whose message has `length` characters."""
        return error_page(400, "x" * length)

    def geo_blocked(self) -> Answer:
        """The answer to clients in a blocked country."""
        return self.bad_status(451, {}, "", self.name)

    def own_fault(self, rule: Mapping[str, Any], endpoint: str, query: dict[str, str]) -> Answer:
        """Answers a request that one of `fault_kinds` hits."""
        raise NotImplementedError(str(rule["kind"]))

    # --- markets

    @classmethod
    def uncollected(cls, make: MakeMarket, start_ms: int) -> list[Market]:
        """Contracts that are in the lists and must not be collected."""
        return []

    @classmethod
    def recorded_lists(cls, folder: Path) -> dict[str, dict[str, Any]]:
        """Recorded lists by name; the one named after the exchange has its contracts by symbol.

        Raises OSError if one is missing.
        """
        return {cls.name: {}}

    @classmethod
    def recorded_bodies(cls, folder: Path) -> list[RecordedSeries]:
        """Series that were recorded as answer bodies, not as tables."""
        return []

    @classmethod
    def listed_contract(cls, entry: Mapping[str, Any]) -> ListedContract:
        """One entry of the recorded list of contracts."""
        raise NotImplementedError(cls.name)


def own_text(status: int, rule: Mapping[str, Any]) -> Answer | None:
    """The answer with the rule's own text as body, or None if the rule has no text."""
    text = str(rule.get("text", ""))
    return Answer(status, text.encode(), "text/plain; charset=utf-8") if text else None
