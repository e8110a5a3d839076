"""What an export is asked for: its form, and which part of the record. Plain data, no I/O."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from history.selection import END_MS
from market.markets import Exchange
from market.timeframes import Timeframe
from stores.cold.history.series import Kind, SeriesKey

Form = Literal["parquet", "csv", "freqtrade"]
KINDS: Final[tuple[Kind, ...]] = ("candles", "open_interest", "funding")
TIMEFRAMES: Final = {timeframe.interval_ms: timeframe for timeframe in Timeframe}


@dataclass(frozen=True, slots=True)
class Wanted:
    """`symbols`: None for all markets. `from_ms` is inclusive, `to_ms` exclusive."""

    form: Form
    exchanges: tuple[Exchange, ...] = tuple(Exchange)
    symbols: frozenset[str] | None = None
    timeframes: tuple[Timeframe, ...] = tuple(Timeframe)
    kinds: tuple[Kind, ...] = KINDS
    from_ms: int = 0
    to_ms: int = END_MS

    def has(self, key: SeriesKey) -> bool:
        """Whether the series is asked for."""
        if self.symbols is not None and key.symbol not in self.symbols:
            return False
        if key.exchange not in self.exchanges or key.kind not in self.kinds:
            return False
        return key.kind != "candles" or TIMEFRAMES.get(key.interval_ms) in self.timeframes

    def of_symbols(self, symbols: frozenset[str]) -> "Wanted":
        return replace(self, symbols=symbols)
