"""freqtrade's layout: `{exchange}/futures/{BASE}_{QUOTE}_{SETTLE}-{timeframe}-{type}.feather`.

Its loader (freqtrade 2026.9) wants for a backtest of futures the candles, and for the fees funding
and mark prices of 1h, which it joins on their dates. Funding rates are written as its releases have
stored them all along, as candles whose `open` is the rate, which the newest one reads, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from history.lake.layout import Content, LakeFile
from history.lake.wanted import TIMEFRAMES, Wanted
from market.timeframes import Timeframe
from stores.cold.history.series import SeriesKey

# Of funding rates and mark prices: `funding_fee_timeframe` and `mark_ohlcv_timeframe`.
FEES: Final = Timeframe.H1
# What freqtrade writes as an underscore in names of files.
_UNDERSCORES: Final = str.maketrans(dict.fromkeys("/ .@$+:", "_"))
_LONGEST_NAME: Final = 200
# Quotes of contracts, to take a symbol apart whose market is not known any more.
_QUOTES: Final = ("USDT", "USDC", "USD")


@dataclass(frozen=True, slots=True)
class Pair:
    """A market as freqtrade and ccxt name it, `BASE/QUOTE:SETTLE`; linear contracts settle in their
    quote."""

    base: str
    quote: str

    @property
    def name(self) -> str:
        return f"{self.base}/{self.quote}:{self.quote}"

    def file_name(self) -> str | None:
        """The pair in names of files; None if it cannot be part of one."""
        plain = self.name.translate(_UNDERSCORES)
        is_safe = all(char.isalnum() or char in "_-" for char in plain)
        return plain if is_safe and len(plain.encode()) <= _LONGEST_NAME else None


def pair_of(key: SeriesKey, known: Mapping[tuple[str, str], Pair]) -> Pair | None:
    """The pair of a series' market: as the markets' table has it, or by its symbol."""
    if (found := known.get((key.exchange, key.symbol))) is not None:
        return found
    for quote in _QUOTES:
        if key.symbol.endswith(quote) and key.symbol != quote:
            return Pair(key.symbol.removesuffix(quote), quote)
    return None


def freqtrade_files(
    keys: Sequence[SeriesKey],
    hours: Sequence[SeriesKey],
    known: Mapping[tuple[str, str], Pair],
    wanted: Wanted,
) -> tuple[list[LakeFile], list[str]]:
    """The files of these series, and the markets whose names cannot be part of a path.

    `hours`: the candles of 1h from which mark prices are made.
    """
    files: dict[str, LakeFile] = {}
    left_out: set[str] = set()
    for key, content, name in _contents(keys, hours):
        pair = pair_of(key, known)
        file_name = None if pair is None else pair.file_name()
        path = f"{key.exchange}/futures/{file_name}-{name}.feather"
        if file_name is None or path in files:
            left_out.add(f"{key.exchange}:{key.symbol}")
            continue
        files[path] = LakeFile(path, content, (key,), wanted.from_ms, wanted.to_ms)
    return list(files.values()), sorted(left_out)


def _contents(
    keys: Sequence[SeriesKey], hours: Sequence[SeriesKey]
) -> Iterator[tuple[SeriesKey, Content, str]]:
    for key in keys:
        if key.kind == "candles":
            yield key, "candles", f"{TIMEFRAMES[key.interval_ms]}-futures"
        elif key.kind == "funding":
            yield key, "funding", f"{FEES}-funding_rate"
    for key in hours:
        yield key, "mark", f"{FEES}-mark"
