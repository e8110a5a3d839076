"""What is read of the record: the selection of a request, and the rows that answer it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from market.rows import Floats, Times
from market.timeframes import DAY_MS
from stores.cold.history.series import SeriesKey

Kind = Literal["candles", "open_interest", "funding", "prices"]

# Settlements this long before and after a candle decide which rate it has.
AROUND_MS: Final = 3 * DAY_MS
# Later than every row that is stored; the end of a range that names none.
END_MS: Final = 10**14


class MarketName(NamedTuple):
    """A market by its names; those of a selection ascend."""

    exchange: str
    symbol: str


class Place(NamedTuple):
    """The last row of a page: the market's, and its time."""

    market: MarketName
    time_ms: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are asked for; `from_ms` is inclusive, `to_ms` exclusive.

    `interval_ms`: of the candles; of open interest the grid that is asked for. `as_of_ms`: what was
    known then, None: what is known now. `unrecorded`: with what the exchange had shown by then and
    was stored later. `revisions`: every version of every row. `interest`, `rates`: what is put on
    candles.
    """

    kind: Kind
    markets: tuple[MarketName, ...]
    interval_ms: int
    from_ms: int = 0
    to_ms: int = END_MS
    as_of_ms: int | None = None
    unrecorded: bool = False
    revisions: bool = False
    interest: bool = False
    rates: bool = False

    @property
    def lag_ms(self) -> int:
        """How much later the time of a row is than that of the stored one: a price's is the end of
        its candle."""
        return self.interval_ms if self.kind == "prices" else 0

    @property
    def stored_from_ms(self) -> int:
        """The range in the times of the stored series; `stored_to_ms` is its end."""
        return max(0, self.from_ms - self.lag_ms)

    @property
    def stored_to_ms(self) -> int:
        return max(0, self.to_ms - self.lag_ms)

    def key(self, market: MarketName) -> SeriesKey:
        """The series whose rows are told."""
        if self.kind == "open_interest":
            return SeriesKey.open_interest(*market)
        if self.kind == "funding":
            return SeriesKey.funding(*market)
        return SeriesKey(*market, "candles", self.interval_ms)

    def reads(self) -> list[tuple[list[SeriesKey], int, int]]:
        """All series that are read, each with the stored times of which any can change what is
        told: from the first to before the second."""
        from_ms, to_ms = self.stored_from_ms, self.stored_to_ms
        keys = [self.key(market) for market in self.markets]
        if self.interest:
            keys += (SeriesKey.open_interest(*market) for market in self.markets)
        reads = [(keys, from_ms, to_ms)]
        if self.rates:
            funding = [SeriesKey.funding(*market) for market in self.markets]
            reads.append((funding, max(0, from_ms - AROUND_MS), to_ms + AROUND_MS))
        return reads


class Span(NamedTuple):
    """A part of one market's rows that is read at once: stored times from `from_ms` to before
    `to_ms`, and how many rows they give."""

    market: MarketName
    from_ms: int
    to_ms: int
    rows: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What a selection's answer will be, found before its first row is read.

    `as_of_ms`: the state that is read, None if nothing is stored. `pin_ms`: nothing that is known
    later is told. `markets`: those of the page, also without rows. `last`: the page's last row, if
    others follow it. `digest`: the same for the same rows, whatever else is stored.
    """

    as_of_ms: int | None
    pin_ms: int
    markets: tuple[MarketName, ...]
    spans: Sequence[Span]
    rows: int
    unrecorded: int
    last: Place | None
    digest: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one market, ascending by `times` (n).

    `values` (n, k): open to turnover, open interest and funding rate of candles (NaN: null), one
    column of other kinds. `known_at` (n), and for revisions `known_to` (n), NEVER_MS for what is
    known still.
    """

    market: MarketName
    times: Times
    values: Floats
    known_at: Times
    known_to: Times | None = None

    def __len__(self) -> int:
        return len(self.times)
