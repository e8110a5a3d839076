"""docs/workers.md and the examples of workers run, as users have them, in real processes."""

import asyncio
import json
import os
import shlex
import shutil
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import WSMsgType, web

from api.parts import Parts
from commands.composition import open_parts
from commands.workers_part import make_host
from config import load_settings
from stores.hot.opening import open_hot_store
from tests.docs.blocks import ROOT, claim
from tests.fixtures.proxies import certificate
from tests.fixtures.signals import until
from tests.workers.hosts import Fleet, fleet_on
from tests.workers.local_http import Served, serving
from tests.workers.users_modules import Write, write_module
from workers.declared import DECLARED
from workers.http import Http
from workers.http_clients import HttpClients

__all__ = ["write_module"]

HELLO: Final = claim("docs/workers.md", "# plugins/hello.py")
RUN_HELLO: Final = claim("docs/workers.md", "workers run hello")
THREE: Final = claim("docs/workers.md", "# plugins/funds.py")
YOURS: Final = claim("docs/workers.md", "class Funds(Base)")
PLAIN: Final = claim("docs/workers.md", "def page_length")
CLASS: Final = claim("docs/workers.md", "class PageLength")
EXAMPLES: Final = ROOT / "docs" / "examples" / "workers"
FUNDS: Final = (
    "<table><tr><td>VFMVF1</td><td>31,250.5</td></tr><tr><td>VESAF</td><td>28,004</td></tr>"
)
NEWS: Final = {
    "items": [
        {"title": "Old", "date_published": "2026-11-29T08:00:00Z"},
        {"title": "New", "date_published": "2026-11-30T08:00:00Z"},
    ]
}
RATES: Final = {"rates": {"VND": 26345.0, "EUR": 0.86}}
SENT: Final = '{"s":"FPT","p":"131.2","q":100,"t":1764489600000}'
TRADE: Final = {"symbol": "FPT", "price": 131.2, "quantity": 100, "time_ms": 1764489600000}
pytestmark = [
    pytest.mark.skipif(find_spec("curl_cffi") is None, reason="needs requirements-browser.txt"),
    pytest.mark.skipif(find_spec("sqlalchemy") is None, reason="needs requirements-databases.txt"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl"),
]


def sources() -> web.Application:
    """What the sources of the examples send, and a stream of trades that wants a subscription."""
    app = web.Application()

    async def trades(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT and json.loads(message.data) == {
                "subscribe": "trades"
            }:
                await socket.send_str('{"ok":true}')
                await socket.send_str(SENT)
        return socket

    async def funds(_: web.Request) -> web.Response:
        return web.Response(text=FUNDS, content_type="text/html")

    async def news(_: web.Request) -> web.Response:
        return web.json_response(NEWS)

    async def rates(_: web.Request) -> web.Response:
        return web.json_response(RATES)

    async def lines(_: web.Request) -> web.Response:
        return web.Response(text="VFMVF1 31250.5\nVESAF 28004\n")

    async def told(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(SENT)
        async for _ in socket:
            pass
        return socket

    app.router.add_get("/funds", funds)
    app.router.add_get("/lines", lines)
    app.router.add_get("/told", told)
    app.router.add_get("/news", news)
    app.router.add_get("/rates", rates)
    app.router.add_get("/trades", trades)
    return app


@pytest.fixture
async def plain() -> AsyncIterator[Served]:
    async with serving(sources()) as served:
        yield served


@pytest.fixture
async def behind_tls(tmp_path: Path) -> AsyncIterator[Served]:
    server, _ = certificate(tmp_path, "localhost")
    async with serving(sources(), server, "localhost") as served:
        yield served


@pytest.fixture
async def fleet(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet_on(database_url, redis_url, tmp_path / "data") as found:
        yield found


def settings(plain: Served, behind_tls: Served, folder: Path) -> dict[str, str]:
    """The environment of a user who has the examples in a folder `plugins`."""
    return {
        "SCHEDULES": "on",
        "LIVE": "off",
        "BINANCE_BASE_URL": "http://127.0.0.1:1",
        "BYBIT_BASE_URL": "http://127.0.0.1:1",
        "SSL_CERT_FILE": str(folder / "cert.pem"),
        "FUND_VALUES_URL": f"{behind_tls.url}/funds",
        "FUND_VALUES_WORKER_URL": f"{behind_tls.url}/funds",
        "NEWS_URL": f"{plain.url}/news",
        "NEWS_WORKER_URL": f"{plain.url}/news",
        "WORKER_CONFIG_URL": f"{plain.url}/rates",
        "TRADES_URL": f"{plain.url}/trades".replace("http", "ws"),
        "TRADES_WORKER_URL": f"{plain.url}/trades".replace("http", "ws"),
    }


class TestExamples:
    """All examples at once, in one worker process, on real stores."""

    async def test_they_run_as_functions_and_as_classes(
        self,
        plain: Served,
        behind_tls: Served,
        fleet: Fleet,
        tmp_path: Path,
        redis_url: str,
        database_url: str,
    ) -> None:
        shutil.copytree(EXAMPLES, tmp_path / "plugins")
        await fleet.start_program(
            *(str(ROOT / "main.py"), "worker"),
            folder=tmp_path,
            settings=settings(plain, behind_tls, tmp_path)
            | {"WORKERS": "plugins", "MAIN_DATABASE_URL": database_url},
        )
        await until_synced(fleet, "news")
        began_ms = time.time() * 1000
        for name in ("news", "rates", "fund_values"):
            for worker in (name, f"{name}_worker"):
                run = await fleet.until_state(await fleet.force(worker), "complete", "failed")
                assert run.state == "complete", (worker, run.error, fleet.told())
                assert run.result is not None and run.result["rows"] == 2
                assert run.attempts == 1 and run.slot_ms > began_ms - 60_000

        values = await fleet.rows("SELECT code, value FROM fund_values ORDER BY code")
        assert [tuple(row) for row in values] == [("VESAF", 28004.0), ("VFMVF1", 31250.5)]
        with sqlite3.connect(tmp_path / "rates.db") as rates:
            found = rates.execute("SELECT currency, per_dollar FROM rates ORDER BY 1").fetchall()
        rates.close()
        assert found == [("EUR", 0.86), ("VND", 26345.0)]
        # Both styles asked the source, as a browser does.
        assert [hello.alpn for hello in behind_tls.hellos] == [["h2", "http/1.1"]] * 2
        assert all(hello.has_grease for hello in behind_tls.hellos)
        assert all("Chrome/" in asked.headers["User-Agent"] for asked in behind_tls.requests)

        store = open_hot_store(redis_url, client_name="test")
        try:
            headlines = await store.execute("GET", "news:headlines")
            assert json.loads(headlines) == ["New", "Old"]
            for worker in ("trades", "trades_worker"):

                async def published(worker: str = worker) -> Any:
                    return await store.execute("HGET", f"worker:feed:{worker}:latest", "value")

                assert json.loads(await until(published, details=fleet.told)) == TRADE
        finally:
            await store.aclose()

        async def logged() -> list[str] | None:
            lines = await fleet.rows(
                "SELECT worker, fields->>'rows' AS rows FROM execution_log"
                " WHERE event IN ('fund_values_saved', 'headlines_saved') ORDER BY worker"
            )
            found = [f"{line['worker']} {line['rows']}" for line in lines]
            return found if len(found) == 4 else None

        assert await until(logged, details=fleet.told) == [
            "fund_values 2",
            "fund_values_worker 2",
            "news 2",
            "news_worker 2",
        ]


class TestDocument:
    """The blocks of docs/workers.md."""

    async def test_the_three_run_as_they_stand(
        self,
        plain: Served,
        fleet: Fleet,
        write_module: Write,
        monkeypatch: pytest.MonkeyPatch,
        redis_url: str,
        database_url: str,
    ) -> None:
        write_module("plugins.funds", YOURS.text + THREE.text)
        for name, value in {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "WORKERS": "plugins.funds",
            "MAIN_DATABASE_URL": database_url,
            "FUND_VALUES_URL": f"{plain.url}/lines",
            "TRADES_URL": f"{plain.url}/told".replace("http", "ws"),
        }.items():
            monkeypatch.setenv(name, value)
        found = load_settings()
        stop = asyncio.Event()
        async with open_parts(found, "test") as parts, asyncio.TaskGroup() as running:
            running.create_task(make_host(found, parts, ()).run(stop))
            try:
                await self.look_at_the_three(fleet, parts)
            finally:
                stop.set()

    async def look_at_the_three(self, fleet: Fleet, parts: Parts) -> None:
        await until_synced(fleet, "fund_values")
        await fleet.execute("CREATE TABLE funds (code text PRIMARY KEY, value float8)")
        run = await fleet.until_state(await fleet.force("fund_values"), "complete", "failed")
        assert (run.state, run.result) == ("complete", {"rows": 2}), run.error
        values = await fleet.rows("SELECT code, value FROM funds ORDER BY code")
        assert [tuple(row) for row in values] == [("VESAF", 28004.0), ("VFMVF1", 31250.5)]
        run = await fleet.until_state(await fleet.force("ui_data"), "complete", "failed")
        assert run.state == "complete", run.error
        known = {job.id for job in await parts.queue.list()}
        assert known == {"collect:5m", "collect:15m", "collect:1h"}

        async def published() -> Any:
            return await parts.store.execute("HGET", "worker:feed:trades:latest", "value")

        assert json.loads(await until(published)) == {"symbol": "FPT", "price": 131.2}

    async def test_the_first_worker_runs_by_its_command(
        self, tmp_path: Path, redis_url: str, database_url: str
    ) -> None:
        (tmp_path / "plugins").mkdir()
        (tmp_path / "plugins" / "hello.py").write_text(HELLO.text, encoding="utf-8")
        setting, python, program, *words = shlex.split(RUN_HELLO.text)
        assert (python, program) == ("python", "main.py")
        name, _, value = setting.partition("=")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / program), *words),
            cwd=tmp_path,
            env={**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url, name: value},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(100):
            printed, _ = await process.communicate()
        assert (process.returncode, json.loads(printed)) == (0, {"rows": 1})

    async def test_functions_and_classes_of_the_document(self, plain: Served) -> None:
        """Both workers named page_length do the same."""
        lengths = []
        for block in (PLAIN, CLASS):
            before = len(DECLARED)
            exec(compile(block.text, "docs/workers.md", "exec"), {"__name__": "document"})  # noqa: S102
            (declaration,) = DECLARED[before:]
            del DECLARED[before:]
            assert declaration.mistakes == () and declaration.definition is not None
            definition = declaration.definition
            assert (definition.name, definition.tz) == ("page_length", "Asia/Ho_Chi_Minh")
            job = Job(f"{plain.url}/funds")
            lengths.append(await job.result_of(definition.function))
        assert lengths == [len(FUNDS)] * 2


class Job:
    """What the short blocks use of a Context."""

    def __init__(self, url: str) -> None:
        self.config = {"url": url}
        self._clients = HttpClients(load_settings())
        self._loop = asyncio.get_running_loop()

    def http(self) -> Http:
        return self._clients.client(None)

    def wait(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(30)

    async def result_of(self, function: Any) -> Any:
        async with self._clients:
            if asyncio.iscoroutinefunction(function):
                return await function(self)
            return await asyncio.to_thread(function, self)


async def until_synced(fleet: Fleet, worker: str) -> None:
    """Until the worker process has its rows in the table."""

    async def there() -> bool:
        return bool(await fleet.rows("SELECT 1 FROM worker WHERE name = $1", worker))

    await until(there, details=fleet.told)
