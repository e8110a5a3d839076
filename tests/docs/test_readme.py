"""What README.md and the first pages of docs/ tell a newcomer to run, run."""

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from config import Settings, load_settings
from documents.building import DocumentBuilder
from market.markets import Exchange, Market, MarketSeries
from market.metadata import MetadataBatch
from market.timeframes import Timeframe
from tests.docs import settings_table
from tests.docs.blocks import ROOT, claim
from tests.docs.test_schema import keys_not_told
from tests.fixtures.api import ServedApi
from tests.fixtures.simulator import StartSimulator

DOCUMENT: Final = claim("README.md", '"last_closed_open_time": ')
DEMO: Final = claim("README.md", "make demo")
RUN: Final = claim("README.md", "make run     #")
# The page that goes on from the README has its two commands again.
AGAIN: Final = (claim("docs/start.md", "make demo"), claim("docs/start.md", "make run     #"))
ASK: Final = claim("docs/start.md", "curl --compressed")
PANDAS: Final = claim("docs/start.md", "import pandas as pd")
CRON: Final = claim("docs/reading.md", "1 * * * *")
CLOSES: Final = claim("docs/reading.md", "*/5 * * * *")
STORED: Final = claim("docs/reading.md", "import base64")
SIMULATE: Final = claim("docs/start.md", "--port 9000 --binance 200")
SIMULATED: Final = claim("docs/start.md", "DATA_DIR=simdata make run")
LATE: Final = claim("docs/start.md", "simulate --port 9000 --now")
MIDNIGHT: Final = claim("docs/start.md", "/sim/clock -d")
TEST: Final = claim("README.md", "make test    #")
LIVE_SIMULATE: Final = claim("docs/live.md", "main.py simulate")
LIVE_SERVE: Final = claim("docs/live.md", "LIVE=auto")

# The environment that runs the tests stands for the one that `make` builds.
_MAKE: Final = f"make VENV={sys.prefix} -o {sys.prefix}/run.stamp"
_SECRET: Final = "s3cret"

Start = Callable[..., Awaitable["Shell"]]


class Shell:
    """A line of a document, run by a shell at the checkout's root."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.printed = ""

    async def said(self, pattern: str, within_s: float = 90) -> str:
        """The first group of `pattern`, as soon as it is printed."""
        assert self.process.stdout is not None
        async with asyncio.timeout(within_s):
            while (found := re.search(pattern, self.printed)) is None:
                line = (await self.process.stdout.readline()).decode()
                assert line, f"it ended without {pattern!r}: {self.printed}"
                self.printed += line
        return found[1]

    async def ended(self, within_s: float = 90) -> str:
        """All that it printed; it must end well."""
        async with asyncio.timeout(within_s):
            rest, _ = await self.process.communicate()
        self.printed += rest.decode()
        assert self.process.returncode == 0, self.printed
        return self.printed


@pytest.fixture
async def start(data_dir: Path) -> AsyncIterator[Start]:
    """Starts a line of a document; ended after the test, with the processes it started."""
    running: list[asyncio.subprocess.Process] = []

    async def begin(line: str, **environment: str) -> Shell:
        process = await asyncio.create_subprocess_shell(
            line,
            cwd=ROOT,
            env={"PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": str(data_dir)}
            | {"DATA_DIR": str(data_dir), "PORT": "0", "SCHEDULES": "off", **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        running.append(process)
        return Shell(process)

    yield begin
    for process in running:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                # The group: a shell does not hand a signal on to what it runs.
                os.killpg(process.pid, signal.SIGTERM)
            async with asyncio.timeout(20):
                await process.communicate()


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def with_make_of_the_tests(line: str) -> str:
    return re.sub(r"\bmake\b", _MAKE, line, count=1)


def test_the_first_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_the_two_commands_are_told_twice_alike() -> None:
    assert [block.text for block in AGAIN] == [DEMO.text, RUN.text]


async def test_the_demo_shows_what_it_collected(start: Start) -> None:
    shell = await start(with_make_of_the_tests(DEMO.text))
    printed = await shell.ended(within_s=180)
    assert "binance:BTCUSDT" in printed
    assert re.search(r"90 markets, [\d,]+ rows of 4h, [\d,]+ rows of 8h", printed)
    streamed = re.search(r"(\d+) of (\d+) closed candles came by streams", printed)
    asked = re.search(r"asked for the candles of (\d+) markets", printed)
    assert streamed is not None and asked is not None
    assert int(streamed[1]) >= 78
    assert int(streamed[1]) + int(asked[1]) == int(streamed[2])
    # Which markets are shown depends on those that traded, and so on the time of day.
    assert re.search(r"binance:\S+ +[\d.]+ +[\d.]+ +[\d.]+[kMB]? +[\d.]+ s +stream", printed)
    assert "Published with them: 5m 4h 8h." in printed
    told = " ".join(printed.split())
    assert re.search(r"BTC on binance, bybit, okx: open interest [\d.]+k BTC, [\d.]+B USDT;", told)
    assert re.search(r"in 24 h; funding, .*% per 8 h or .*% a year; prices [\d.]+ bp apart", told)
    assert "equal to what was served then" in printed
    by, old = r"\w[\w.-]+", r"\d+ (?:s|min|h|d)\b"
    assert re.search(rf"price of btc +[\d,]+\.\d\d USD +{by} +{old}", printed)
    other = re.search(rf"price of eth \* +[\d,]+\.\d\d USD +({by}) +{old}", printed)
    assert other is not None and other[1] != "coingecko"
    assert len(re.findall(rf"news \d +\S.* {by} +{old}", printed)) == 3
    assert re.search(rf"fear and greed +\d+ of 100, [A-Z][A-Za-z ]+ +{by} +{old}", printed)
    assert re.search(rf"gas of ethereum +[\d.]+ gwei +{by} +{old}", printed)
    for worker, what in (("ui_data", "5m providers"), ("historical_data", "4h providers_all")):
        assert re.search(rf"{worker} +\d+ +[\d.]+ s +{what} +[\d,]+", printed), worker
    # More where a close of 5m or 15m came meanwhile.
    assert re.search(r"Collections for users: [1-9]\d*, for the history: [1-9]\d*;", printed)
    assert "nothing is left running" in printed


async def test_the_five_minutes(start: Start, start_simulator: StartSimulator) -> None:
    simulator = start_simulator(binance=20, bybit=20)
    exchanges = {f"{name}_BASE_URL": simulator.base_url for name in ("BINANCE", "BYBIT")}
    service = await start(with_make_of_the_tests(RUN.text), CRON_SECRET=_SECRET, **exchanges)
    socket = await service.said(r"embedded Redis at (\S+)")
    address = await service.said(r"listening on (\S+)")

    async def ask(line: str) -> str:
        own = line.replace("http://127.0.0.1:8000", address).replace("curl ", "curl -sS ", 1)
        return await (await start(own, CRON_SECRET=_SECRET)).ended()

    post, follow, read = lines(ASK.text)
    assert json.loads(await ask(post))["id"] == "collect:4h"
    async with asyncio.timeout(90):
        while (job := json.loads(await ask(follow)))["last"] is None:
            assert job["state"] in ("queued", "active"), job
    assert job["last"]["state"] == "complete", job
    document = json.loads(await ask(read))
    assert {market["symbol"] for market in document["markets"]} == {"BTCUSDT"}
    assert [len(market["rows"]) for market in document["markets"]] == [2, 2]

    schedule, command = CRON.text.split(" curl ", 1)
    assert schedule == "1 * * * *"
    assert json.loads(await ask("curl " + command))["kind"] == "funding"

    with redis.Redis.from_url(socket) as store:
        assert await asyncio.to_thread(keys_not_told, store) == []

    names: dict[str, Any] = {}
    code = STORED.text.replace("unix:///path/printed/at/start.sock", socket)
    await asyncio.to_thread(exec, compile(code, "docs", "exec"), names)
    assert names["document"]["columns"] == document["columns"]
    assert names["document"]["version"] == document["version"]


async def test_the_line_after_every_close(native_api: ServedApi, start: Start) -> None:
    schedule, command = CLOSES.text.split(" curl ", 1)
    assert schedule == "*/5 * * * *"
    line = "curl " + command.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{native_api.port}")
    assert json.loads(await (await start(line)).ended())["id"] == "collect:all"
    assert [job.id for job in await native_api.queue.list()] == ["collect:all"]


async def test_the_service_on_the_simulator(start: Start) -> None:
    simulate = SIMULATE.text.replace(".venv/bin/python", sys.executable)
    exchanges = await start(simulate.replace("--port 9000", "--port 0"))
    address = await exchanges.said(r"listening on (\S+)")
    line = SIMULATED.text.replace("http://127.0.0.1:9000", address)
    # `simdata` stands for a folder below the checkout: here it is the test's own.
    line = line.replace("DATA_DIR=simdata ", "")
    service = await start(with_make_of_the_tests(line))
    assert (await service.said(r"listening on (\S+)")).startswith("http://127.0.0.1:")
    assert "simdata/" in (ROOT / ".gitignore").read_text().splitlines()


async def test_the_service_on_the_simulators_streams(start: Start) -> None:
    simulate = LIVE_SIMULATE.text.replace(".venv/bin/python", sys.executable)
    exchanges = await start(simulate.replace("--port 9000", "--port 0"))
    address = await exchanges.said(r"listening on http://(\S+)")
    lines = LIVE_SERVE.text.replace("127.0.0.1:9000", address).replace("DATA_DIR=simdata ", "")
    service = await start(with_make_of_the_tests(lines))
    for exchange in ("binance", "bybit"):
        await service.said(rf"(feed_follows.*exchange={exchange}.* markets=20)")
    assert "stream_down" not in service.printed


async def test_the_simulators_midnight(start: Start) -> None:
    simulate = LATE.text.replace(".venv/bin/python", sys.executable)
    exchanges = await start(simulate.replace("--port 9000", "--port 0"))
    address = await exchanges.said(r"listening on (\S+)")
    for path, told in (("sim/clock", "(2026-03-01T23:5)"), ("sim", "(/sim/truth)")):
        shown = await start(f"curl -s {address}/{path}")
        await shown.said(told)
    moved = await start(MIDNIGHT.text.replace("http://127.0.0.1:9000", address))
    await moved.said(r'"now":"(2026-03-02T00:00:\d\d)')


async def test_a_market_without_rows_does_not_spoil_the_table(native_api: ServedApi) -> None:
    hour_ms = 3_600_000
    newest_ms = 1_700_006_400_000
    builder = DocumentBuilder(Timeframe.H4, "collected")
    row = (newest_ms, 1.5, 2.0, 1.0, 1.25, 10.0, 12.5, None, 1e-05)
    bitcoin = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")
    for market, rows in (
        (bitcoin, [(newest_ms - 4 * hour_ms, *row[1:]), row]),
        (Market(Exchange.BYBIT, "NEWUSDT", "NEW", "USDT"), []),
    ):
        builder.add(MarketSeries(market, rows, newest_ms), {})
    as_of_ms = newest_ms + hour_ms
    document = builder.finish(version=1, as_of_ms=as_of_ms, updated_at_ms=as_of_ms, missing=[])
    await native_api.publish("4h", document, 1)

    names: dict[str, Any] = {"print": lambda *_: None}
    code = PANDAS.text.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{native_api.port}")
    await asyncio.to_thread(exec, compile(code, "docs", "exec"), names)
    table = names["table"]
    types = {column: str(kind) for column, kind in table.dtypes.items()}
    assert types.pop("closed") == "bool"
    assert types.pop("open_time").startswith("datetime64[")
    assert set(types.values()) == {"float64"}, types
    assert table["closed"].tolist() == [True, False]


def test_the_document_shown_is_one_that_is_served() -> None:
    shown = json.loads(DOCUMENT.text)
    (market,) = shown["markets"]
    builder = DocumentBuilder(Timeframe.H4, "collected")
    series = MarketSeries(
        Market(Exchange(market["exchange"]), market["symbol"], market["base"], market["quote"]),
        [tuple(row) for row in market["rows"]],
        market["checked_at"],
    )
    builder.add(series, market["meta"])
    served = json.loads(
        builder.finish(
            version=shown["version"],
            as_of_ms=shown["as_of"],
            updated_at_ms=shown["updated_at"],
            missing=[],
        )
    )
    assert shown == served
    metadata = MetadataBatch(Timeframe.H4)
    metadata.add("any", series.rows, shown["as_of"])
    assert list(market["meta"]) == list(metadata.finish()["any"])


def test_the_test_command_runs_the_suite() -> None:
    (words,) = lines(TEST.text)
    assert shlex.split(words, comments=True) == ["make", "test"]
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_settings_are_all_there_with_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    told: dict[str, str] = {}
    for each, defaults in settings_table.rows(text):
        values = defaults.split(", ") if len(each) > 1 else [defaults]
        told |= dict(zip(each, values if len(values) == len(each) else values * 9, strict=False))
    assert set(told) == {name.upper() for name in Settings.model_fields}
    with_defaults = {
        name: value
        for name, value in told.items()
        if value and " " not in value and name != "DATA_DIR"
    }
    assert len(with_defaults) > 12
    bare = load_settings()
    for name, value in with_defaults.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == bare


def test_live_is_told_with_its_default() -> None:
    text = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    assert f"\n| `LIVE` | {load_settings().live} |" in text


def test_the_timeframes_are_all_there() -> None:
    text = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    assert f"`{' '.join(Timeframe)}`" in text
    assert " ".join(Timeframe) in (ROOT / "docs" / "overview.svg").read_text(encoding="utf-8")
