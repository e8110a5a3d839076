"""A strategy of freqtrade that enters at once: what a dry run of futures asks, it asks."""

from typing import Any

from freqtrade.strategy import IStrategy, informative  # type: ignore[import-not-found]


class Plain(IStrategy):  # type: ignore[misc]
    INTERFACE_VERSION = 3
    timeframe = "5m"
    can_short = True
    stoploss = -0.5
    minimal_roi = {"0": 10}  # noqa: RUF012 - as freqtrade has it
    startup_candle_count = 30

    @informative("1h")  # type: ignore[untyped-decorator]
    def populate_indicators_1h(self, frame: Any, metadata: Any) -> Any:
        frame["mean"] = frame["close"].rolling(5).mean()
        return frame

    def populate_indicators(self, frame: Any, metadata: Any) -> Any:
        frame["mean"] = frame["close"].rolling(10).mean()
        return frame

    def populate_entry_trend(self, frame: Any, metadata: Any) -> Any:
        frame["enter_long"] = 1
        return frame

    def populate_exit_trend(self, frame: Any, metadata: Any) -> Any:
        frame["exit_long"] = 0
        return frame
