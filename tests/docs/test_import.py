"""The import of docs/history.md, run as it stands there against a real database."""

import asyncio
import os
import shlex
import sys
from pathlib import Path

from database import Database, SeriesKey
from market.timeframes import Timeframe
from tests.docs.blocks import ROOT, claim
from tests.history.archive.files import H1, KLINES, kline, ms, write_zip

COMMAND = claim("docs/history.md", "main.py import ~/")
MARCH = ms("2026-03-01")


async def run(folder: Path, database_url: str, *, dry: bool) -> tuple[int | None, str]:
    (folder / "exports" / "lake").mkdir(parents=True, exist_ok=True)
    words = [word.replace("~", str(folder), 1) for word in shlex.split(COMMAND.text)]
    assert words[-1] == "--dry-run"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *words[1 : None if dry else -1]),
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database_url},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        said = (await process.communicate())[0].decode()
    return process.returncode, said


async def test_a_folder_goes_in_as_the_document_says(tmp_path: Path, database_url: str) -> None:
    archive = tmp_path / "binance-archive"
    lines = [kline(MARCH + hour * H1, H1) for hour in range(24)]
    write_zip(archive, "BTCUSDT-1h-2026-03-01.zip", [KLINES, *lines], checksum=True)
    code, said = await run(tmp_path, database_url, dry=True)
    assert (code, said) == (
        0,
        "[1/1] BTCUSDT-1h-2026-03-01.zip: 24 added\n1 of 1 files would be imported: 24 added\n",
    )
    write_zip(archive, "ETHUSDT-1h-2026-03-01.zip", [KLINES, *lines[:23], "x"])
    (archive / "README.txt").write_text("")
    code, said = await run(tmp_path, database_url, dry=False)
    assert code == 1
    told = said.splitlines()
    assert "README.txt: refused: imported are klines of 5m, 15m" in told[0]
    assert told[1:] == [
        "[2/3] BTCUSDT-1h-2026-03-01.zip: 24 added",
        "[3/3] ETHUSDT-1h-2026-03-01.zip: 23 added, 1 refused, 1 lacking in the file",
        "  line 25: 1 columns in place of 12",
        "2 of 3 files imported, 1 refused: 47 added, 1 refused, 1 lacking in the file",
    ]
    database = Database(database_url)
    key = SeriesKey.candles("binance", "BTCUSDT", Timeframe.H1)
    assert await database.history.gaps(key, MARCH - H1, MARCH + 25 * H1) == [
        (MARCH - H1, MARCH),
        (MARCH + 24 * H1, MARCH + 25 * H1),
    ]
    await database.aclose()
