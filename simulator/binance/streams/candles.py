"""Binance's kline and continuousKline streams."""

from simulator.candles import (
    CLOSE,
    HIGH,
    LOW,
    OPEN,
    TAKER_TURNOVER,
    TAKER_VOLUME,
    TIME,
    TRADES,
    TURNOVER,
    VOLUME,
)
from simulator.market import Market
from simulator.streams.candle_feed import CandleFeed
from simulator.streams.candle_view import Candle, Tapes
from simulator.streams.settings import StreamSettings
from simulator.text import fixed

_QUIET_MS = 2_000  # a candle closes at the latest so long after its end, without a new trade


class KlineFeed(CandleFeed):
    """`<symbol>@kline_<interval>`, and continuousKline, which names pair and contract type.

    Pushed every 250 ms if changed. The closing event of an active market comes 0.2 to 0.8 s after
    the close, that of a quiet one about 2.0 s after it, with or without trades in the candle.
    """

    spacing_ms = 250

    def __init__(
        self, market: Market, interval: str, interval_ms: int, tapes: Tapes,
        settings: StreamSettings, seed: int, *, continuous: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(market, interval_ms, tapes, settings, seed)
        self._continuous = continuous
        self._head = (
            f'"ps":"{market.symbol}","ct":"PERPETUAL"' if continuous else f'"s":"{market.symbol}"'
        )
        self._kind = "continuous_kline" if continuous else "kline"
        name = "" if continuous else f'"s":"{market.symbol}",'
        self._middle = f'{name}"i":"{interval}"'

    def closing_ms(self, end_ms: int, next_trade_ms: int, *, silent: bool) -> int:
        if silent or next_trade_ms > end_ms + _QUIET_MS:
            return end_ms + _QUIET_MS + self.draw("quiet", end_ms, 8)
        return super().closing_ms(end_ms, next_trade_ms, silent=silent)

    def render(self, candle: Candle, event_ms: int, *, closed: bool) -> bytes:
        v = candle.values
        prices, amounts = self.market.price_decimals, self.market.quantity_decimals
        both = prices + amounts
        return (
            f'{{"e":"{self._kind}","E":{event_ms},{self._head},"k":{{"t":{v[TIME]},'
            f'"T":{v[TIME] + self.interval_ms - 1},{self._middle},"f":{candle.first_id},'
            f'"L":{candle.last_id},"o":"{fixed(v[OPEN], prices)}","c":"{fixed(v[CLOSE], prices)}",'
            f'"h":"{fixed(v[HIGH], prices)}","l":"{fixed(v[LOW], prices)}",'
            f'"v":"{fixed(v[VOLUME], amounts)}","n":{v[TRADES]},'
            f'"x":{"true" if closed else "false"},"q":"{fixed(v[TURNOVER], both)}",'
            f'"V":"{fixed(v[TAKER_VOLUME], amounts)}","Q":"{fixed(v[TAKER_TURNOVER], both)}",'
            f'"B":"0"}}}}'
        ).encode()
