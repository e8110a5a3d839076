"""ccxt and freqtrade ask here by the configuration of docs/bots.md alone."""

import asyncio
import json
import signal
from bisect import bisect_right
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import pytest

from tests.docs.blocks import ROOT, Block, claim
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.simulator import Simulator, StartSimulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
STRATEGY: Final = ROOT / "tests" / "facade" / "clients" / "plain_strategy.py"
RECIPE: Final = claim("docs/recipes.md", "class FundingAware(")
CCXT: Final = claim("docs/bots.md", "import ccxt")
BLOCKS: Final = {
    "binance": claim("docs/bots.md", '"name": "binance"'),
    "bybit": claim("docs/bots.md", '"name": "bybit"'),
}
# The recipe's strategy, which writes down what it sees of each pair, and enters it at once.
_SEES: Final = """
import json
from pathlib import Path

from funding_aware import EXCHANGE, TIMEFRAME, FundingAware


class Sees(FundingAware):
    def populate_indicators(self, dataframe, metadata):
        seen = super().populate_indicators(dataframe, metadata)
        times = seen["date"].dt.as_unit("ms").astype("int64")
        names = ["open", "high", "low", "close", "volume"]
        names += [f"open_interest_{TIMEFRAME}", f"funding_rate_{TIMEFRAME}"]
        rows = [[time, *row] for time, row in zip(times, seen[names].values.tolist())]
        part = Path("seen.part")
        part.write_text(json.dumps(rows))
        part.rename(f"seen {metadata['pair'].replace('/', ' ')}.json")
        return seen

    def populate_entry_trend(self, dataframe, metadata):
        dataframe["enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe["exit_long"] = 0
        return dataframe
"""
PERPCACHE: Final = "http://127.0.0.1:8000"
PAIRS: Final = ["BTC/USDT:USDT", "ETH/USDT:USDT"]
BASE: Final[dict[str, Any]] = {
    "dry_run": True,
    "initial_state": "running",
    "stake_currency": "USDT",
    "stake_amount": 200,
    "dry_run_wallet": 1000,
    "max_open_trades": 2,
    "pairlists": [{"method": "StaticPairList"}],
    "entry_pricing": {"price_side": "same", "use_order_book": True, "order_book_top": 1},
    "exit_pricing": {"price_side": "same", "use_order_book": True, "order_book_top": 1},
    "internals": {"process_throttle_secs": 1},
}
# Reads what was downloaded, and prints its rows by file.
_READS: Final = """
import json, sys
from pathlib import Path
import pandas as pd

found = {}
for file in Path(sys.argv[1]).rglob("*.feather"):
    frame = pd.read_feather(file)
    frame["date"] = frame["date"].astype(str)
    found[file.name] = frame.values.tolist()
print(json.dumps(found))
"""
WITHIN_S: Final = 240
HOUR_MS: Final = 3_600_000


class Freqtrade:
    """freqtrade with a configuration and a folder of its own."""

    def __init__(self, program: Path, folder: Path, block: Block, addresses: tuple[str, str]):
        text = block.text
        for own, given in zip(
            (f"{PERPCACHE}/binance", f"{PERPCACHE}/bybit"), addresses, strict=True
        ):
            text = text.replace(own, given)
        assert PERPCACHE not in text
        config = BASE | json.loads(text)
        config["exchange"] |= {"pair_whitelist": PAIRS}
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        self.program, self.folder = program, folder

    @asynccontextmanager
    async def started(self, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            str(self.program), words[0], "-c", "config.json", "--userdir", ".", *words[1:],
            cwd=self.folder,
            env={
                "HOME": str(self.folder),
                "COLUMNS": "1000",
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": f"{self.folder}:{ROOT / 'client' / 'src'}",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def run(self, *words: str) -> str:
        async with asyncio.timeout(WITHIN_S), self.started(*words) as process:
            printed, _ = await process.communicate()
        assert process.returncode == 0, printed.decode()[-4000:]
        return printed.decode()

    async def pairs(self) -> list[str]:
        """What list-pairs lists."""
        printed = await self.run("list-pairs", "--print-json", "--quote", "USDT")
        line = next(line for line in printed.splitlines() if line.startswith("["))
        found: list[str] = json.loads(line)
        return found

    async def downloaded(self) -> dict[str, list[list[Any]]]:
        """The rows of the files that download-data writes."""
        words = ("--days", "3", "-t", "5m", "1h", "--data-format-ohlcv", "feather")
        await self.run("download-data", *words)
        python = self.program.parent / "python"
        process = await asyncio.create_subprocess_exec(
            str(python), "-c", _READS, str(self.folder), stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        found: dict[str, list[list[Any]]] = json.loads(printed)
        return found

    async def dry_run(self, strategy: str) -> list[str]:
        """What it prints until it has an order for each pair, and is stopped: not what it prints
        after that, as it may be stopped in the middle of a transaction of its own."""
        words = ("--dry-run", "--strategy", strategy, "--strategy-path", ".")
        lines: list[str] = []
        async with asyncio.timeout(WITHIN_S), self.started("trade", *words) as process:
            assert process.stdout is not None
            async for raw in process.stdout:
                lines.append(raw.decode(errors="replace"))
                ordered = [pair for pair in PAIRS if any(_is_order(line, pair) for line in lines)]
                if ordered == PAIRS and process.returncode is None:
                    process.send_signal(signal.SIGINT)
                    break
            await process.communicate()
        assert process.returncode == 128 + signal.SIGINT, "".join(lines)
        return lines


def _is_order(line: str, pair: str) -> bool:
    return f"was created for {pair}" in line


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    """Real time, which freqtrade asks by."""
    return start_simulator(binance=8, bybit=8, okx=8)


@pytest.fixture
async def service(
    start_service: StartService, service_settings: ServiceSettings, exchanges: Simulator
) -> Service:
    given = service_settings(exchanges, FACADE="on", LIVE="off", EXCHANGES="binance,bybit,okx")
    given |= {"HISTORY_CANDLES": "499", "FUNDING_HISTORY": "400"}
    service = await start_service(**given)
    for timeframe in ("5m", "1h"):
        await service.collect(timeframe)
    await service.funding_ready()
    return service


_ASKS: Final = """
import json
found = {}
for exchange in (binance, bybit, okx):
    most = 300 if exchange is okx else 499
    rows = exchange.fetch_ohlcv("BTC/USDT:USDT", "1h", limit=most)
    until = {"until": rows[-24][0] + 1}
    interest = exchange.fetch_open_interest_history(
        "BTC/USDT:USDT", "1h", rows[-100][0] + 2, 200, until
    )
    found[exchange.id] = [len(rows), len(interest), exchange.last_response_headers["X-Perpcache"]]
print(json.dumps(found))
"""


async def test_ccxt_as_documented(service: Service, bench_python: Path) -> None:
    assert CCXT.text.count(PERPCACHE) == 1
    program = CCXT.text.replace(PERPCACHE, service.address) + _ASKS
    process = await asyncio.create_subprocess_exec(
        str(bench_python), "-c", program, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(WITHIN_S):
        printed, _ = await process.communicate()
    told = json.loads(printed)
    assert list(told) == ["binanceusdm", "bybit", "okx"]
    for name, (candles, interest, headers) in told.items():
        assert (candles, interest) == (300 if name == "okx" else 499, 76)
        assert headers.startswith("hit; age=")


@pytest.mark.parametrize("exchange", BLOCKS)
async def test_freqtrade_by_configuration_alone(
    service: Service,
    exchanges: Simulator,
    freqtrade_program: Path,
    tmp_path: Path,
    exchange: str,
) -> None:
    here = (f"{service.address}/binance", f"{service.address}/bybit")
    direct = (exchanges.base_url, exchanges.base_url)
    ours = Freqtrade(freqtrade_program, tmp_path / "ours", BLOCKS[exchange], here)
    theirs = Freqtrade(freqtrade_program, tmp_path / "theirs", BLOCKS[exchange], direct)

    listed = await ours.pairs()
    assert set(PAIRS) < set(listed)
    assert listed == await theirs.pairs()

    told, true = await ours.downloaded(), await theirs.downloaded()
    assert set(told) == set(true)
    assert len(told) == len(PAIRS) * 4  # two timeframes, mark prices and funding
    compared = 0
    for name, rows in true.items():
        shared = min(len(rows), len(told[name])) - 1  # the newest may have closed meanwhile
        assert told[name][:shared] == rows[:shared], name
        compared += shared
    assert compared > 1_800

    exchanges.post("/sim/stats/reset")
    (ours.folder / "plain_strategy.py").write_text(STRATEGY.read_text())
    printed = await ours.dry_run("Plain")
    assert not [line for line in printed if " - ERROR - " in line or " - WARNING - " in line]
    asked = exchanges.get("/sim/requests")["requests"]
    limits = [parse_qs(each["query"])["limit"] for each in asked if each["endpoint"] == "klines"]
    assert all(limit == ["499"] for limit in limits)
    assert not exchanges.stats()["rejected_total"]


@pytest.mark.parametrize("exchange", BLOCKS)
async def test_a_strategy_sees_open_interest_and_funding_beside_the_candles_from_here(
    service: Service,
    exchanges: Simulator,
    freqtrade_program: Path,
    tmp_path: Path,
    exchange: str,
) -> None:
    """The recipe, in a dry run: all that it saw was true at the exchange."""
    for timeframe in ("15m", "4h"):
        await service.collect(timeframe)
    here = (f"{service.address}/binance", f"{service.address}/bybit")
    freqtrade = Freqtrade(freqtrade_program, tmp_path / "bot", BLOCKS[exchange], here)
    own = RECIPE.text.replace(PERPCACHE, service.address)
    own = own.replace('EXCHANGE = "binance"', f'EXCHANGE = "{exchange}"')
    (freqtrade.folder / "funding_aware.py").write_text(own)
    (freqtrade.folder / "sees.py").write_text(_SEES)
    printed = await freqtrade.dry_run("Sees")
    assert not [line for line in printed if " - ERROR - " in line or " - WARNING - " in line]

    compared = 0
    for pair in PAIRS:
        market = f"{exchange}:{pair.split('/')[0]}USDT"
        rows = json.loads((freqtrade.folder / f"seen {pair.replace('/', ' ')}.json").read_text())
        candles = {row[0]: row[1:6] for row in exchanges.truth("15m", candles=600)[market]}
        longer = exchanges.truth("4h", funding_history=400)[market]
        closes_ms = [row[0] + 4 * HOUR_MS for row in longer]
        for open_ms, *told in rows:
            assert told[:5] == candles[open_ms], (pair, open_ms)
            known = longer[bisect_right(closes_ms, open_ms + HOUR_MS // 4) - 1]
            assert told[5:] == known[7:9], (pair, open_ms)
            compared += len(told)
        assert len({row[6] for row in rows}) > 25  # open interest
        assert len({row[7] for row in rows}) > 8  # settlements of five days
    assert compared > 2 * 450 * 7
