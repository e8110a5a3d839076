"""Files for freqtrade: read as its handler of Feather reads them, and by freqtrade itself."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest

from database import Database, SeriesKey, SeriesRows
from history.lake.exporting import export
from history.lake.freqtrade import Pair
from history.lake.wanted import Wanted
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from tests.history.lake.reading_back import identities

BEGIN_MS: Final = 1_767_225_600_000
NAMES: Final = ["date", "open", "high", "low", "close", "volume"]
PAIRS: Final = {
    ("binance", "1000PEPEUSDT"): Pair("1000PEPE", "USDT"),
    ("bybit", "BTCPERP"): Pair("BTC", "USDC"),
}
# What a backtest of futures reads, by freqtrade's own loader; it prints what it has found.
_LOADS: Final = """
import json, sys
from pathlib import Path
from freqtrade.data.history import get_datahandler, load_data
from freqtrade.enums import CandleType, TradingMode
from freqtrade.exchange import Exchange

folder, pair = Path(sys.argv[1]), "1000PEPE/USDT:USDT"
handler = get_datahandler(folder, "feather")
known = handler.ohlcv_get_available_data(folder, TradingMode.FUTURES)

def load(kind, timeframe, **options):
    options |= {"candle_type": kind, "fail_without_data": True}
    return load_data(folder, timeframe, [pair], **options)[pair]

candles = load(CandleType.FUTURES, "5m")
funding = load(CandleType.FUNDING_RATE, "1h", fill_up_missing=False)
fees = Exchange.combine_funding_and_mark(funding, load(CandleType.MARK, "1h"))
print(json.dumps({
    "known": sorted([name, timeframe, str(kind)] for name, timeframe, kind in known),
    "candles": [len(candles), str(candles["date"].iloc[0]), candles["close"].tolist()],
    "fees": fees[["open_mark", "open_fund"]].values.tolist(),
}))
"""


@pytest.fixture
async def exported(database: Database, tmp_path: Path) -> Path:
    rows: list[SeriesRows] = []
    for exchange, symbol in PAIRS:
        for timeframe in (Timeframe.M5, Timeframe.H1):
            times = BEGIN_MS + timeframe.interval_ms * np.arange(200, dtype=np.int64)
            values = np.arange(1200.0).reshape(200, 6) / 7
            key = SeriesKey.candles(exchange, symbol, timeframe)
            rows.append(SeriesRows(key, times, values))
        # Settlements come some ms late.
        times = BEGIN_MS + 8 * HOUR_MS * np.arange(20, dtype=np.int64) + np.arange(20) % 3 * 7
        rates = (np.arange(20)[:, None] - 3) / 7e5
        rows.append(SeriesRows(SeriesKey.funding(exchange, symbol), times, rates))
    await database.history.store(rows, BEGIN_MS)
    wanted = Wanted("freqtrade", kinds=("candles", "funding"))
    await export(database.history, tmp_path, wanted, BEGIN_MS, pairs=PAIRS)
    return tmp_path


def read(file: Path) -> Any:
    """As the handler of freqtrade 2024 to 2026 does: names by place, numbers, times in UTC."""
    found = pd.read_feather(file)
    found.columns = NAMES
    found = found.astype(dict.fromkeys(NAMES[1:], "float"))
    found["date"] = pd.to_datetime(found["date"], unit="ms", utc=True)
    return found


def times_of(found: Any) -> list[int]:
    times: list[int] = found["date"].astype("int64").tolist()
    return times


async def test_the_files_are_what_its_handler_reads(exported: Path) -> None:
    futures = exported / "binance" / "futures"
    assert sorted(Path(path).name for path in identities(exported)) == sorted(
        f"{pair}-{name}.feather"
        for pair in ("1000PEPE_USDT_USDT", "BTC_USDC_USDC")
        for name in ("5m-futures", "1h-futures", "1h-mark", "1h-funding_rate")
    )
    values = np.arange(1200.0).reshape(200, 6)[:, :5] / 7
    candles = read(futures / "1000PEPE_USDT_USDT-5m-futures.feather")
    assert str(candles["date"].dtype) == "datetime64[ms, UTC]"
    assert times_of(candles) == [BEGIN_MS + 5 * MINUTE_MS * n for n in range(200)]
    assert candles[NAMES[1:]].to_numpy().tobytes() == values.tobytes()
    mark = read(futures / "1000PEPE_USDT_USDT-1h-mark.feather")
    assert mark[NAMES[1:5]].to_numpy().tolist() == values[:, :4].tolist()
    assert set(mark["volume"]) == {0.0}
    funding = read(futures / "1000PEPE_USDT_USDT-1h-funding_rate.feather")
    assert times_of(funding) == [BEGIN_MS + 8 * HOUR_MS * n for n in range(20)]
    assert funding["open"].tolist() == [(n - 3) / 7e5 for n in range(20)]
    # What a fee is computed from: both at one time.
    assert len(mark.merge(funding, on="date", how="inner")) == 20


@pytest.mark.slow
async def test_freqtrade_itself_reads_them(exported: Path) -> None:
    """Set FREQTRADE_PYTHON to the Python of an environment with `pip install freqtrade==2026.9`."""
    if (python := os.environ.get("FREQTRADE_PYTHON")) is None:
        pytest.skip("set FREQTRADE_PYTHON to a Python that has freqtrade")
    done = subprocess.run(  # noqa: S603, ASYNC221 - nothing else runs meanwhile
        [python, "-c", _LOADS, str(exported / "binance")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    pair = "1000PEPE/USDT:USDT"
    assert found["known"] == [
        *([pair, "1h", kind] for kind in ("funding_rate", "futures", "mark")),
        [pair, "5m", "futures"],
    ]
    closes = [(6 * n + 3) / 7 for n in range(200)]
    assert found["candles"] == [200, "2026-01-01 00:00:00+00:00", closes]
    assert found["fees"] == [[48 * n / 7, (n - 3) / 7e5] for n in range(20)]
