"""docs/lake.md, run on an export of a real record."""

import re
import shlex
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from database import Database, SeriesKey, SeriesRows
from main import main
from market.timeframes import HOUR_MS, Timeframe
from tests.docs.blocks import ROOT, Block, claim

DOCUMENT: Final = "docs/lake.md"
EXPORT: Final = claim(DOCUMENT, "export lake\n")
CSV: Final = claim(DOCUMENT, "--format csv --symbol")
FREQTRADE: Final = claim(DOCUMENT, "--format freqtrade")
IMAGE: Final = claim(DOCUMENT, "FROM perpcache")
ONE_MARKET: Final = claim(DOCUMENT, "# One market.")
ALL_MARKETS: Final = claim(DOCUMENT, "# All markets at once")
KNOWN: Final = claim(DOCUMENT, "# What a bot could have known")
PANDAS: Final = claim(DOCUMENT, "import pandas")
BEGIN_MS: Final = 1_795_132_800_000  # 2026-11-20 00:00 UTC
COUNT: Final = 40
CLOSES: Final = 100.0 + np.arange(COUNT) ** 2


@pytest.fixture
async def recorded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty hours of two markets, each candle known 10 s after its close; and their funding."""
    database = Database(database_url)
    times = BEGIN_MS + HOUR_MS * np.arange(COUNT, dtype=np.int64)
    for exchange, symbol, factor in (("binance", "BTCUSDT", 1.0), ("bybit", "ETHUSDT", -0.001)):
        values = np.column_stack([1000.0 + factor * CLOSES] * 6)
        key = SeriesKey.candles(exchange, symbol, Timeframe.H1)
        for line in (slice(0, 32), slice(32, COUNT)):
            rows = SeriesRows(key, times[line], values[line])
            await database.history.store([rows], int(times[line][-1]) + HOUR_MS + 10_000)
        funding = SeriesRows(SeriesKey.funding(exchange, symbol), times[::8], values[::8, :1])
        await database.history.store([funding], BEGIN_MS)
    await database.aclose()
    monkeypatch.setenv("DATABASE_URL", database_url)


def printed(block: Block) -> str:
    """What a block of Python prints."""
    lines: list[str] = []
    exec(compile(block.text, DOCUMENT, "exec"), {"print": lambda what: lines.append(str(what))})  # noqa: S102 - what the page shows
    return "\n".join(lines)


@pytest.mark.usefixtures("recorded")
def test_the_lake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(EXPORT.text.splitlines()[-1])[2:]) == 0
    assert "candles of binance, 1h: 1 file written (40 rows" in capsys.readouterr().out
    one = printed(ONE_MARKET)
    assert [f"{1000 + close}" in one for close in CLOSES[-4:]] == [False, True, True, True]
    last = 1000 + CLOSES
    every = printed(ALL_MARKETS)
    assert every.index("BTCUSDT") < every.index("ETHUSDT")
    assert str(last[-1] / last[-24] - 1)[:12] in every
    # The last eight candles became known together, later than that time; 32 were known before.
    known = printed(KNOWN)
    assert sorted(re.findall(r"'(\w+)', datetime\.datetime\((\d+, \d+, \d+)", known)) == [
        ("BTCUSDT", "2026, 11, 21"),
        ("ETHUSDT", "2026, 11, 21"),
    ]
    changes = last[1:] / last[:-1] - 1
    assert float(printed(PANDAS)) == pytest.approx(changes.std(ddof=1))


@pytest.mark.usefixtures("recorded")
def test_csv_and_freqtrade(tmp_path: Path) -> None:
    assert main(shlex.split(CSV.text)[2:]) == 0
    assert {str(file) for file in files(tmp_path, "csv")} == {
        "csv/candles/binance/1h/BTCUSDT.csv",
        "csv/funding/binance/BTCUSDT.csv",
    }
    assert main(shlex.split(FREQTRADE.text)[2:]) == 0
    text = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    for file in files(tmp_path, "feather"):
        assert file.name.replace("-1h-futures", "-5m-futures") in text


def files(folder: Path, suffix: str) -> list[Path]:
    found = [file.relative_to(folder) for file in folder.rglob(f"*.{suffix}")]
    assert found
    return found


def test_the_image_has_the_list_of_packages() -> None:
    lines = IMAGE.text.splitlines()
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert lines[-1] in dockerfile and "PATH=/opt/venv/bin:" in dockerfile
    assert "WORKDIR /app" in dockerfile
    assert "!requirements-lake.txt" in (ROOT / ".dockerignore").read_text().splitlines()
    for block in (IMAGE, EXPORT):
        assert "--require-hashes -r requirements-lake.txt" in block.text
    assert "pyarrow==" in (ROOT / "requirements-lake.txt").read_text(encoding="utf-8")
