"""The demo on a terminal ends with its page, which stays open until Enter is pressed."""

import asyncio
import os
import pty
import re
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.fixtures.browser import browser, opened
from tests.fixtures.signals import until

MAIN: Final = Path(__file__).resolve().parents[2] / "main.py"
DEMO_S: Final = 400.0
ENTER: Final = "press Enter here"


class Terminal:
    """A demo on a terminal of its own; `told` is what it has printed."""

    def __init__(self) -> None:
        self.told = ""
        self._end, self._other = pty.openpty()

    async def start(self, folder: Path) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(MAIN), "demo", "--markets", "6"),
            cwd=folder,
            stdin=self._other,
            stdout=self._other,
            stderr=self._other,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
        )
        os.close(self._other)
        asyncio.get_running_loop().add_reader(self._end, self._read)
        return process

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._end)
        os.close(self._end)

    def _read(self) -> None:
        try:
            raw = os.read(self._end, 65536)
        except OSError:  # the program has ended
            asyncio.get_running_loop().remove_reader(self._end)
            return
        self.told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.told + raw.decode(errors="replace"))


@pytest.mark.slow
async def test_the_page_stays_open_until_enter(tmp_path: Path) -> None:
    terminal = Terminal()
    process = await terminal.start(tmp_path)
    try:

        async def is_asked() -> bool:
            return ENTER in terminal.told or process.returncode is not None

        await until(is_asked, DEMO_S, lambda: terminal.told)
        found = re.search(r"(http://[\d.:]+)/ui/(#/market/BTCUSDT/4h)", terminal.told)
        assert found is not None, terminal.told
        async with browser() as launched, opened(launched, found[1]) as page:
            await page.goto(found[2])
            for exchange in ("Binance", "Bybit", "OKX"):
                await page.sees(exchange, "main")
            await page.page.wait_for_selector("[data-exchange=bybit] canvas")
            await page.sees("Open interest", "[data-exchange=binance] .last")
            await page.sees("Funding rate", "[data-exchange=binance] .last")
            await page.sees("Live", ".fresh")
            await page.shot("demo-page")
            await page.goto("#/now")
            await page.sees("Nothing is wrong", "main")
            await page.shot("demo-now")
        terminal.type("\n")
        async with asyncio.timeout(60):
            assert await process.wait() == 0
        assert "nothing is left running" in terminal.told
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        terminal.close()
