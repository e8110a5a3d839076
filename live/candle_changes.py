"""What a candle book tells of its markets: closed candles, and markets that are unproven.

The same changes lie in the hot store (candle_log.py). Applied in order they give the state of
candle_state.py, to the book that told them and to every reader.
"""

from enum import StrEnum
from typing import Final

import msgspec

from live.events import CandleEvent
from market.candles import Candle


class Reason(StrEnum):
    """Why a closed candle, or a market, is not proven."""

    STARTING = "starting"  # no whole candle since the market was listed
    EPOCH_ENDED = "epoch_ended"  # the connection ended, and no other one covered the candle
    PAUSED = "paused"  # the connection brought nothing of any market for too long
    UNREADABLE = "unreadable"  # a message, or an entry of one, could not be read
    IMPOSSIBLE = "impossible"  # a candle that cannot be: its prices, numbers or times
    OUT_OF_ORDER = "out_of_order"  # an earlier event came after a later one
    NUMBERS_BACKWARDS = "numbers_backwards"  # less traded, or a smaller range, than before
    MISSED_CLOSE = "missed_close"  # messages came, a closing event did not
    LATE_CLOSE = "late_close"  # the closing event came after the grace
    NOT_WHOLE = "not_whole"  # no connection delivered from before its open to its close
    CONTRADICTED = "contradicted"  # two closing events with different values
    NOT_TOLD = "not_told"  # a reader of the log began later
    SILENT = "silent"  # no message of a market that is subscribed: normal, and settled by REST


# A market without messages is no fault.
NORMAL: Final = frozenset((Reason.SILENT,))


class Way(StrEnum):
    """How a closed candle became known."""

    STREAM = "stream"
    REST = "rest"


class ClosedCandle(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="candle", forbid_unknown_fields=True
):
    """A candle that the exchange has closed. Numbers are the exchange's texts, times UTC ms.

    `known_ms`: the exchange's time when it became known as it is. `epoch`: of the connection that
    brought it, 0 for REST. `unproven`: why it must be fetched by REST before it is used, None if
    it is proven. A later one of the same symbol and open time replaces it.
    """

    symbol: str
    open_time_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str
    event_time_ms: int
    known_ms: int
    epoch: int
    way: Way = Way.STREAM
    unproven: Reason | None = None

    @property
    def is_proven(self) -> bool:
        return self.unproven is None

    def contradicted(self, known_ms: int) -> "ClosedCandle":
        """This candle, of which a closing event with other values came."""
        return msgspec.structs.replace(self, known_ms=known_ms, unproven=Reason.CONTRADICTED)

    def candle(self) -> Candle:
        """The candle as the answers of REST are read: prices as numbers, the rest as texts."""
        prices = float(self.open), float(self.high), float(self.low), float(self.close)
        return Candle(self.open_time_ms, *prices, self.volume, self.turnover)


def closed_by_stream(
    event: CandleEvent, epoch: int, known_ms: int, unproven: Reason | None
) -> ClosedCandle:
    return ClosedCandle(
        symbol=event.symbol,
        open_time_ms=event.open_time_ms,
        open=event.open,
        high=event.high,
        low=event.low,
        close=event.close,
        volume=event.volume,
        turnover=event.turnover,
        event_time_ms=event.event_time_ms,
        known_ms=known_ms,
        epoch=epoch,
        unproven=unproven,
    )


def closed_by_rest(symbol: str, candle: Candle, close_ms: int, known_ms: int) -> ClosedCandle:
    opened, high, low, closed = map(repr, candle[1:5])
    return ClosedCandle(
        *(symbol, candle.open_time_ms, opened, high, low, closed, candle.volume, candle.turnover),
        event_time_ms=close_ms,
        known_ms=known_ms,
        epoch=0,
        way=Way.REST,
    )


class FormingCandle(
    msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True
):
    """A candle as it stands before its close."""

    symbol: str
    open_time_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str
    event_time_ms: int

    def candle(self) -> Candle:
        """As ClosedCandle.candle."""
        prices = float(self.open), float(self.high), float(self.low), float(self.close)
        return Candle(self.open_time_ms, *prices, self.volume, self.turnover)


class Lapse(msgspec.Struct, frozen=True, array_like=True, tag="lapse", forbid_unknown_fields=True):
    """These markets are unproven since `since_ms`: until a candle that closes later is proven."""

    symbols: list[str]
    reason: Reason
    since_ms: int


class Delisted(
    msgspec.Struct, frozen=True, array_like=True, tag="delisted", forbid_unknown_fields=True
):
    """These markets are not followed any more: nothing is known of them."""

    symbols: list[str]


Change = ClosedCandle | Lapse | Delisted
