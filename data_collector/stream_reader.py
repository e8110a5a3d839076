"""StreamReader: what a pass may take from the exchanges' streams in place of asking for candles."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from market.candles import Candle, Candles
from market.markets import Market


class Streamed(NamedTuple):
    """What streams tell of one market. `closed`: candles that they have closed and proven;
    `forming`: the candle asked for as it was some seconds ago, or when the market became unproven,
    None if nothing is known of it; `is_awaited`: nothing is known of the last candle that has
    closed, and its closing event may still come; `unproven_ms`: since when the market is unproven,
    None while it is proven."""

    closed: Candles
    forming: Candle | None
    is_awaited: bool
    unproven_ms: int | None = None


class StreamReader(Protocol):
    """The candles of 5m that streams have brought, as far as a pass has caught up with them."""

    def streamed(self, market: Market, since_ms: int, forming_ms: int) -> Streamed | None:
        """Of the candles that opened at `since_ms` or later, while the one of `forming_ms` forms;
        None while nobody feeds the exchange's streams."""

    def take_back(self, market: Market) -> frozenset[int]:
        """The open times of candles that were proven and are not any more since the last call."""

    def compared(self, market: Market, candles: int) -> None:
        """So many candles of streams were compared with those of REST."""

    def differs(self, market: Market, open_ms: int) -> None:
        """REST shows this candle with other values: what its connection brings is not proven. May
        be told again of the same candle."""


class ClosingStreams(StreamReader, Protocol):
    """The same, while closing events come."""

    def arriving(
        self, markets: Sequence[Market], forming_ms: int, now_ms: int
    ) -> AsyncIterator[Sequence[Market]]:
        """All these markets, in turn as the closing events of the candle before `forming_ms` come,
        and shortly after its close those as well that still have none. `now_ms`: the exchanges'
        time."""
        ...
