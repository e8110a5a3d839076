"""The examples of collectors run: each against the tiny exchange, on real WebSockets."""

import asyncio
import contextlib
import importlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import httpx
import prometheus_client
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from benchmarks.collecting import BENCH_PYTHON
from docs.examples.collectors.exchanges import OKXCollector
from docs.examples.collectors.local_exchange import ADDRESS, LocalExchange
from perpcache.live import CollectorManager
from tests.docs.blocks import ROOT, claim

DEMO: Final = claim("docs/collectors.md", "collector_demo.py")
FOLDER: Final = ROOT / "docs" / "examples" / "collectors"
PACKAGE: Final = "docs.examples.collectors"
WITHIN_S: Final = 100.0
ENDING: Final = ("configured", "debug_logging", "migration", "troubleshooting")


@pytest.fixture
async def exchange(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalExchange]:
    """An exchange, at the address that the examples ask for. No task is left after the test."""
    before = asyncio.all_tasks()
    served = LocalExchange(every_s=0.005)
    async with served.serving() as url:
        monkeypatch.setenv(ADDRESS, url)
        yield served
    left = asyncio.all_tasks() - {asyncio.current_task()} - before
    assert [task.get_name() for task in left] == []


class Printed:
    """What an example prints, from whichever thread."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._more = asyncio.Event()

    def __call__(self, *values: object) -> None:
        self.lines.append(" ".join(map(str, values)))
        self._loop.call_soon_threadsafe(self._more.set)

    async def said(self, pattern: str) -> "re.Match[str]":
        """The first match among the lines, as soon as there is one."""
        async with asyncio.timeout(WITHIN_S):
            seen = 0
            while True:
                while seen < len(self.lines):
                    seen += 1
                    if found := re.search(pattern, self.lines[seen - 1]):
                        return found
                self._more.clear()
                if seen == len(self.lines):
                    await self._more.wait()


@contextlib.asynccontextmanager
async def running(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[ModuleType, Printed]]:
    """Runs an example's main: to its end, or until the end of the context."""
    module = importlib.import_module(f"{PACKAGE}.{name}")
    printed = Printed()
    monkeypatch.setattr(module, "print", printed, raising=False)
    main = asyncio.create_task(module.main())
    try:
        yield module, printed
    finally:
        if name not in ENDING:
            main.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await main


@pytest.mark.usefixtures("exchange")
class TestExamples:
    """One test for each file."""

    async def test_quick_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running("quick_start", monkeypatch) as (_, printed):
            for symbol in ("BTC-USDT", "ETH-USDT"):
                await printed.said(rf"Received: {symbol} - \{{'number': \d+, 'price'")

    async def test_managed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running("managed", monkeypatch) as (_, printed):
            await printed.said("Running: 1")
            await printed.said("Failed: 0")
            await printed.said("Restarts: 0")

    async def test_configured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running("configured", monkeypatch) as (_, printed):
            told = await printed.said("primary_okx (.*)")
            assert "'symbols': ['BTC-USDT', 'ETH-USDT', 'SOL-USDT']" in told[1]
            await printed.said("local .*'health_check_interval'|local .*'status': 'running'")

    async def test_production_collector(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running("production_collector", monkeypatch) as (_, printed):
            await printed.said("BTC-USDT: [1-9]")

    async def test_robust_collector(
        self, monkeypatch: pytest.MonkeyPatch, exchange: LocalExchange
    ) -> None:
        monkeypatch.setenv("RECONNECT_DELAY", "0.01")
        async with running("robust_collector", monkeypatch) as (_, printed):
            await printed.said("BTC-USDT after 0 restarts")
            await exchange.cut()
            await printed.said("BTC-USDT after 1 restarts")

    async def test_production_setup(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running("production_setup", monkeypatch) as (_, printed):
            for exchange in ("okx", "binance", "coinbase"):
                await printed.said(f"ticker {exchange} AVAX-USDT")
                await printed.said(f"trade {exchange} AVAX-USDT")

    async def test_monitored_collector(
        self, monkeypatch: pytest.MonkeyPatch, exchange: LocalExchange
    ) -> None:
        registry = CollectorRegistry()
        for kind in ("Counter", "Gauge"):
            made = getattr(prometheus_client, kind)

            def of_this_test(*given: Any, made: Any = made) -> Any:
                return made(*given, registry=registry)

            monkeypatch.setattr(prometheus_client, kind, of_this_test)
        monkeypatch.setattr(
            prometheus_client,
            "generate_latest",
            lambda made=prometheus_client.generate_latest: made(registry),
        )
        monkeypatch.setenv("RECONNECT_DELAY", "0.01")
        labels = 'exchange="my_exchange",symbol="BTC-USDT",type="ticker"'
        async with running("monitored_collector", monkeypatch) as (_, printed):
            await printed.said(rf"collector_messages_total\{{{labels}\}} [1-9]")
            await printed.said(r'collector_uptime_seconds\{exchange="my_exchange"\} 0\.\d')
            await exchange.cut()
            await printed.said(
                r'collector_errors_total\{error_type="connection",exchange="my_exchange"\} 1'
                r'|collector_errors_total\{exchange="my_exchange",error_type="connection"\} 1'
            )

    async def test_troubleshooting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running("troubleshooting", monkeypatch) as (_, printed):
            await printed.said(r"Errors: \{\}")
            await printed.said("Received: MarketDataPoint.*BTC-USDT")
        monkeypatch.setenv(ADDRESS, "ws://127.0.0.1:1/ws")
        module = importlib.import_module(f"{PACKAGE}.troubleshooting")
        await module.will_not_start()
        await printed.said(r"Error: local: connect\(\) failed: ClientConnectorError: ")

    async def test_clean_collector(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running("clean_collector", monkeypatch) as (_, printed):
            await printed.said("BTC-USDT after 0 restarts")
            await printed.said("BTC-USDT after 1 restarts")

    async def test_batching_collector(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running("batching_collector", monkeypatch) as (_, printed):
            await printed.said("30 messages, the latest is")

    async def test_pooled_collector(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running("pooled_collector", monkeypatch) as (_, printed):
            await printed.said("BTC-USDT beside a pool of 10")

    async def test_debug_logging(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("LOG_LEVEL", "LOG_DIR"):  # the example sets them; they are set back
            monkeypatch.setenv(name, "")
        async with running("debug_logging", monkeypatch) as (_, printed):
            await printed.said(r"logs/collector_debug\.log: [1-9]")
            await printed.said(r"logs/collector_info\.log: [1-9]")

    async def test_custom_logging(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("LOG_DIR", str(tmp_path / "logs"))
        async with running("custom_logging", monkeypatch) as (_, printed):
            await printed.said("BTC-USDT: 10[0-6].50")
        told = (tmp_path / "logs" / "okx_performance_info.log").read_text()
        assert re.search(r"INFO okx_performance Message processed in 0\.\d{3}s", told)

    async def test_migration(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running("migration", monkeypatch) as (_, printed):
            await printed.said("running, healthy: True")

    async def test_fastapi_app(self) -> None:
        module = importlib.import_module(f"{PACKAGE}.fastapi_app")
        transport = httpx.ASGITransport(module.app)
        async with (
            module.app.router.lifespan_context(module.app),
            httpx.AsyncClient(transport=transport, base_url="http://app") as client,
        ):
            status = (await client.get("/collector/status")).json()
            assert status["collectors"]["okx"]["status"]["status"] == "running"
            assert (await client.post("/collector/okx/restart")).json() == {"success": True}
            assert (await client.post("/collector/other/restart")).json() == {"success": False}
            status = (await client.get("/collector/status")).json()
            assert status["statistics"]["restarts_performed"] == 1


@pytest.mark.usefixtures("exchange")
async def test_fastapi_may_start_and_stop_a_manager_by_events() -> None:
    """As before FastAPI had lifespans; it still may, with a warning."""
    manager = CollectorManager("fastapi_collectors")
    manager.add_collector(OKXCollector(["BTC-USDT"]))
    app = FastAPI()
    with pytest.warns(DeprecationWarning, match="on_event is deprecated"):

        @app.on_event("startup")
        async def startup_event() -> None:
            await manager.start()

        @app.on_event("shutdown")
        async def shutdown_event() -> None:
            await manager.stop()

    async with app.router.lifespan_context(app):
        assert manager.get_running_collectors() == ["okx"]
    assert manager.get_running_collectors() == []


def test_every_example_has_its_test() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    for file in FOLDER.glob("*.py"):
        if file.stem not in ("local_exchange", "exchanges"):
            assert f"def test_{file.stem}(" in here, file.name


def test_the_demo_runs_in_a_program_of_its_own(tmp_path: Path) -> None:
    variable, python, program, *arguments = DEMO.text.split()
    assert (variable, python) == ("PYTHONPATH=.", ".venv/bin/python")
    assert arguments == ["--seconds", "10"]
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(ROOT / program), "--seconds", "0.6"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )
    assert done.returncode == 0, done.stderr
    assert "first BTC-USDT ticker" in done.stdout
    assert re.search(r"[1-9]\d* points since the restart", done.stdout)


def needing(package: str, text: str) -> list[str]:
    """The command of a program that needs a package: of this environment, or of the benchmarks'."""
    if importlib.util.find_spec(package) is not None:
        return [sys.executable, "-c", text]
    for folder in BENCH_PYTHON.parent.parent.glob("lib/python*/site-packages"):
        if (folder / package).is_dir():
            # At the end: of what both environments have, the service's versions are used.
            return [sys.executable, "-c", f"import sys; sys.path.append({str(folder)!r})\n{text}"]
    pytest.skip(f"{package} is not installed: `make bench` makes .venv-bench, which has it")


_DJANGO = """
import django.conf
django.conf.settings.configure()
import django
django.setup()
from django.core.management import call_command
from docs.examples.collectors.django_command import Command
call_command(Command())
"""

_CELERY = """
import json
from celery.contrib.testing.worker import start_worker
from docs.examples.collectors.celery_task import app, start_data_collection
app.conf.update(broker_url="memory://", result_backend="cache+memory://")
with start_worker(app, pool="solo", perform_ping_check=False):
    result = start_data_collection.delay(run_for_s=0.5, check_every_s=0.1)
    print(json.dumps(result.get(timeout=60)))
"""


async def program(command: list[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.usefixtures("exchange")
async def test_django_command() -> None:
    process = await program(needing("django", _DJANGO))
    assert process.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        line = (await process.stdout.readline()).decode()
        assert "'running_collectors': 2" in line
        process.send_signal(signal.SIGTERM)
        rest, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert rest.decode().splitlines() == ["Stopped"]


@pytest.mark.usefixtures("exchange")
async def test_celery_task() -> None:
    process = await program(needing("celery", _CELERY))
    async with asyncio.timeout(WITHIN_S):
        told, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert '"running_collectors": 2' in told.decode().splitlines()[-1]
