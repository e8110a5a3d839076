"""Bybit's kline stream."""

from typing import Final

from simulator.candles import CLOSE, HIGH, LOW, OPEN, TIME, TURNOVER, VOLUME
from simulator.market import Market
from simulator.streams.candle_feed import CandleFeed
from simulator.streams.candle_view import Candle, Tapes
from simulator.streams.settings import StreamSettings
from simulator.text import plain

_CYCLE_MS: Final = 60_000


class KlineFeed(CandleFeed):
    """`kline.<interval>.<symbol>`: pushed every second if changed, every 60 s if not.

    A candle with trades is confirmed 0.1 to 1 s after its close, a silent one at the market's next
    60 s push, or with the first trade of the next candle. Every tenth confirmation shares its
    message with the state of the next candle.
    """

    spacing_ms = 1000
    repeat_ms = _CYCLE_MS

    def __init__(
        self, market: Market, interval: str, interval_ms: int, tapes: Tapes,
        settings: StreamSettings, seed: int,
    ) -> None:  # fmt: skip
        super().__init__(market, interval_ms, tapes, settings, seed)
        self._interval = interval
        self._topic = f"kline.{interval}.{market.symbol}"

    def closing_ms(self, end_ms: int, next_trade_ms: int, *, silent: bool) -> int:
        soon_ms = end_ms + 100 + self.draw("confirm", end_ms, 900)
        if not silent:
            return soon_ms
        push_ms = end_ms + 1 + (self.draw("cycle", 0, _CYCLE_MS) - end_ms) % _CYCLE_MS
        return min(push_ms, max(next_trade_ms, soon_ms))

    def render(self, candle: Candle, event_ms: int, *, closed: bool) -> bytes:
        return self._message([self._element(candle, closed=closed)], event_ms)

    def closing(self, candle: Candle, event_ms: int) -> bytes:
        elements = [self._element(candle, closed=True)]
        end_ms = candle.values[TIME] + self.interval_ms
        if end_ms // self.interval_ms % 10 == 0:
            following = self.view.forming(event_ms)
            if following is not None and following.values[TIME] == end_ms:
                elements.append(self._element(following, closed=False))
        return self._message(elements, event_ms)

    def _message(self, elements: list[str], event_ms: int) -> bytes:
        return (
            f'{{"topic":"{self._topic}","data":[{",".join(elements)}],"ts":{event_ms},'
            '"type":"snapshot"}'
        ).encode()

    def _element(self, candle: Candle, *, closed: bool) -> str:
        v, market = candle.values, self.market
        prices, amounts = market.price_decimals, market.quantity_decimals
        return (
            f'{{"start":{v[TIME]},"end":{v[TIME] + self.interval_ms - 1},'
            f'"interval":"{self._interval}","open":"{plain(v[OPEN], prices)}",'
            f'"close":"{plain(v[CLOSE], prices)}","high":"{plain(v[HIGH], prices)}",'
            f'"low":"{plain(v[LOW], prices)}","volume":"{plain(v[VOLUME], amounts)}",'
            f'"turnover":"{plain(v[TURNOVER], prices + amounts)}",'
            f'"confirm":{"true" if closed else "false"},'
            f'"timestamp":{candle.traded_ms or v[TIME]}}}'
        )
