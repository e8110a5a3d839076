"""OKX's candle streams: at most one push a second, and the closing one with confirm "1"."""

from simulator.candles import Ints
from simulator.market import Market
from simulator.okx import bars
from simulator.okx.bars import Bar
from simulator.okx.rows import candle_text
from simulator.streams.candle_feed import CandleFeed
from simulator.streams.candle_view import Candle, CandleView, Tapes
from simulator.streams.settings import StreamSettings


class BarView(CandleView):
    """The candles of a bar, whose days may begin at 16:00 UTC."""

    def __init__(self, market: Market, bar: Bar, tapes: Tapes) -> None:
        super().__init__(market, bar.interval_ms, tapes)
        self._bar = bar

    def open_ms(self, time_ms: int) -> int:
        return self._bar.open_ms(time_ms)

    def final(self, open_ms: int) -> Ints:
        return bars.closed(self.market, self._bar, open_ms, open_ms)

    def present(self, now_ms: int) -> Ints:
        return bars.forming(self.market, self._bar, now_ms)


class OkxCandles(CandleFeed):
    """The candles of one instrument and bar.

    By default a candle without a trade is told by no frame, and not closed (choice: the worst case;
    setting silent_closings has the other way).
    """

    spacing_ms = 1000

    def __init__(
        self, market: Market, bar: Bar, tapes: Tapes, settings: StreamSettings, seed: int
    ) -> None:
        view = BarView(market, bar, tapes)
        super().__init__(market, bar.interval_ms, tapes, settings, seed, view)

    def render(self, candle: Candle, event_ms: int, *, closed: bool) -> bytes:
        return b'"data":[' + candle_text(self.market, candle.values, int(closed)).encode() + b"]"
