"""`export` on a real PostgreSQL: what it says, how it ends, and that it can be stopped."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import numpy as np
import pytest

from database import Database, SeriesKey, SeriesRows
from history.lake.folder import LakeFolder
from main import main
from market.markets import Exchange, ListedMarket, Market
from market.timeframes import Timeframe
from tests.docs.blocks import ROOT
from tests.fixtures.signals import until

BEGIN_MS = 1_767_225_600_000
COUNT = 300


@pytest.fixture
async def filled(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    database = Database(database_url)
    # A market whose base is not what its symbol says.
    market = Market(Exchange.BYBIT, "BTCPERP", "BTC", "USDC")
    await database.markets.save_markets(
        Exchange.BYBIT, [ListedMarket(market, None)], seen_at_ms=BEGIN_MS
    )
    rows = []
    for exchange, symbol in (("binance", "ETHUSDT"), ("bybit", "BTCPERP")):
        for timeframe in (Timeframe.H1, Timeframe.H4):
            key = SeriesKey.candles(exchange, symbol, timeframe)
            times = BEGIN_MS + timeframe.interval_ms * np.arange(COUNT)
            rows.append(SeriesRows(key, times, np.ones((COUNT, 6))))
    await database.history.store(rows, BEGIN_MS)
    yield
    await database.aclose()


@pytest.mark.usefixtures("filled")
def test_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def export(*words: str) -> tuple[int, list[str]]:
        code = main(["export", *words])
        said = capsys.readouterr()
        return code, (said.out + said.err).splitlines()

    lake = str(tmp_path / "lake")
    code, lines = export(lake)
    assert code == 0 and len(lines) == 5
    assert lines[0].startswith("candles of binance, 1h: 1 file written (300 rows, 0.0 MB)")
    assert lines[-1].startswith("export complete as of 20") and "6 files written" in lines[-1]
    code, lines = export(lake, "--timeframe", "4h", "--exchange", "bybit")
    assert (code, lines[0]) == (0, "candles of bybit, 4h: 0 files written, 2 unchanged")
    manifest = json.loads((tmp_path / "lake" / "manifest.json").read_bytes())
    assert manifest["rows"] == 4 * COUNT and len(manifest["files"]) == 6

    freqtrade = str(tmp_path / "freqtrade")
    assert export(freqtrade, "--format", "freqtrade", "--symbol", "btcperp")[0] == 0
    assert (tmp_path / "freqtrade/bybit/futures/BTC_USDC_USDC-4h-futures.feather").is_file()

    for words, expected, reason in (
        ((lake, "--symbol", "NONEUSDT"), 1, "nothing is recorded of NONEUSDT"),
        ((lake, "--format", "csv"), 1, "holds an export of --format parquet"),
        ((lake, "--from", "yesterday"), 1, "--from yesterday: must be UTC milliseconds or ISO"),
        ((lake, "--from", "2026-02-01", "--to", "2026-01-01"), 1, "must be after"),
        ((lake, "--what", "candles,trades"), 1, "trades: must be some of candles,open_interest"),
        ((freqtrade, "--format", "freqtrade", "--what", "open_interest"), 1, "candles,funding"),
        (("/proc/none/lake",), 1, "/proc/none"),
    ):
        code, lines = export(*words)
        assert code == expected and reason in lines[-1], lines
        assert lines[-1].startswith("perpcache: ")
    with LakeFolder(tmp_path / "lake").locked():
        code, lines = export(lake)
    assert code == 75 and "another export writes into" in lines[-1]


@pytest.mark.usefixtures("filled")
def test_without_pyarrow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for form in ("parquet", "freqtrade"):
        assert main(["export", str(tmp_path / form), "--format", form]) == 78
        (line,) = capsys.readouterr().err.splitlines()
        assert "needs the package pyarrow" in line and "requirements-lake.txt" in line
        assert not (tmp_path / form).exists()
    assert main(["export", str(tmp_path / "csv"), "--format", "csv"]) == 0
    assert (tmp_path / "csv" / "candles" / "binance" / "4h" / "ETHUSDT.csv").is_file()


@pytest.mark.usefixtures("filled")
async def test_a_signal_ends_it(tmp_path: Path, database_url: str) -> None:
    """While it waits for the database, which a lock holds."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE history_recent IN ACCESS EXCLUSIVE MODE")
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(ROOT / "main.py"),
                "export",
                str(tmp_path / "lake"),
                env={"DATABASE_URL": database_url, "PATH": "/usr/bin:/bin"},
            )
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            await until(lambda: connection.fetchval(waits))
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                assert await process.wait() == 130
    finally:
        await connection.close()
