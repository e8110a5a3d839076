"""The forming candle of each market, from all connections: never an earlier or smaller one."""

from live.candle_changes import FormingCandle
from live.candle_checks import is_less, is_possible
from live.candle_state import CandleState
from live.candle_trades import CandleTrades, trades_of
from live.epochs import Epoch
from live.events import CandleEvent


class FormingCandles:
    """The forming candles as they were last shown, by symbol."""

    def __init__(self, state: CandleState) -> None:
        self._state = state
        self._shown: dict[str, CandleEvent] = {}

    def newest_of(self, epoch: Epoch) -> None:
        """Takes what a connection has delivered since."""
        for symbol, stream in epoch.streams.items():
            if stream.last is not None and self._is_newer(stream.last):
                self._shown[symbol] = stream.last

    def all(self) -> list[FormingCandle]:
        """Those that are not closed, and can be."""
        for symbol, event in list(self._shown.items()):
            if self._state.closed(symbol, event.open_time_ms) is not None:
                del self._shown[symbol]
        return [_candle(event) for event in self._shown.values() if is_possible(event)]

    def trades(self) -> list[CandleTrades]:
        """What is told of the trades of those that `all` had last."""
        told = map(trades_of, self._shown.values())
        return [each for each in told if each is not None]

    def of(self, symbol: str, open_time_ms: int) -> CandleEvent | None:
        event = self._shown.get(symbol)
        return event if event is not None and event.open_time_ms == open_time_ms else None

    def forget(self, symbol: str) -> None:
        self._shown.pop(symbol, None)

    def _is_newer(self, event: CandleEvent) -> bool:
        shown = self._shown.get(event.symbol)
        if shown is None or event.open_time_ms > shown.open_time_ms:
            return True
        if event.open_time_ms < shown.open_time_ms or event.event_time_ms < shown.event_time_ms:
            return False
        try:
            return not is_less(event.volume, shown.volume)
        except ValueError:  # one of them is no number; `all` leaves it out
            return True


def _candle(event: CandleEvent) -> FormingCandle:
    return FormingCandle(
        symbol=event.symbol,
        open_time_ms=event.open_time_ms,
        open=event.open,
        high=event.high,
        low=event.low,
        close=event.close,
        volume=event.volume,
        turnover=event.turnover,
        event_time_ms=event.event_time_ms,
    )
