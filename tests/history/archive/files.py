"""Hand-made archive files: lines of each kind as Binance writes them, plain or in a zip archive."""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

KLINES: Final = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore"
)
FUNDING: Final = "calc_time,funding_interval_hours,last_funding_rate"
METRICS: Final = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)
M5: Final = 300_000
H1: Final = 3_600_000
DAY: Final = 86_400_000


def ms(text: str) -> int:
    """UTC milliseconds of a moment such as `2026-03-01 00:05`."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def stamp(moment_ms: int) -> str:
    return f"{datetime.fromtimestamp(moment_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def kline(
    open_ms: int,
    step_ms: int,
    candle: Sequence[str] = ("10", "12", "9", "11", "5", "55"),
    unit: int = 1,
) -> str:
    """A candle: open, high, low, close, volume, turnover; `unit` 1000 for microseconds."""
    opened, high, low, close, volume, turnover = candle
    begin, end = open_ms * unit, (open_ms + step_ms) * unit - 1
    return f"{begin},{opened},{high},{low},{close},{volume},{end},{turnover},7,2,22,0"


def metric(moment_ms: int, interest: str, value: str, symbol: str = "BTCUSDT") -> str:
    return f"{stamp(moment_ms)},{symbol},{interest},{value},1.5,1.4,1.3,1.2"


def text_of(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def zipped(member: str, text: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(member, (2026, 4, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def write_zip(
    folder: Path, name: str, lines: Iterable[str], *, checksum: bool = False, member: str = ""
) -> Path:
    """Writes `name` (…zip) with these lines, and its CHECKSUM if asked."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    data = zipped(member or f"{name.removesuffix('.zip')}.csv", text_of(lines))
    path.write_bytes(data)
    if checksum:
        (folder / f"{name}.CHECKSUM").write_text(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
    return path
