"""The processes of a run: stores, simulator, service, and a second host, ended with the run.

The service has two API processes, a worker and, where streams are fed, the process that does; the
second host has one of each. The plan says which of the latter reach the store over Upstash's REST
API. Each process has a session of its own, so that
Ctrl-C reaches only the harness, which stops them in order. The simulator and our processes also end
by themselves when a pipe shows that the harness has ended.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final

import aiohttp
import psutil
import redis.asyncio as redis

from chaos.exchange_clock import ExchangeClock, PassedOver
from chaos.names import EXCHANGES
from chaos.plan import LEASE_S, Plan
from chaos.processes import ROOT, Outages, RestartedProcess
from chaos.report import ViolationReport
from commands.arguments import PARENT_FD_FLAG
from stores.embedded.postgres import EmbeddedPostgres
from stores.embedded.server import EmbeddedServer
from stores.embedded.valkey import EmbeddedValkey

CRON_SECRET: Final = "chaos-cron"  # noqa: S105 - for this run only
_REST_TOKEN: Final = "chaos-rest"  # noqa: S105 - for this run only
_API_PROCESSES: Final = 2
MARKETS: Final = 12
CANDLES: Final = 60
SETTLEMENTS: Final = 60
_START_S: Final = 60.0
_STOP_S: Final = 8.0
_STORE_ANSWER_S: Final = 1.0
_ROOM_BYTES: Final = 2_000_000_000


class DeploymentFailed(Exception):
    """The run cannot start or continue; the message says why."""


class Deployment:
    """All processes of a run, and ways to query them; made by `open_deployment`."""

    def __init__(self, plan: Plan, folder: Path, report: ViolationReport) -> None:
        self.plan = plan
        self.folder = folder
        self.report = report
        self.outages = Outages()
        self.store_outages = Outages()
        # By document: the newest version whose value was replaced by a foreign one.
        self.lost_versions: dict[str, int] = {}
        self.clock = ExchangeClock(plan.start_ms, flows=plan.live)
        self._passed_over = PassedOver(folder / "passed_over")
        self.valkey = EmbeddedValkey(folder)
        self.postgres = EmbeddedPostgres(folder)
        self.redis_url = ""
        self.database_url = ""
        self.rest_url = ""
        self.apis: list[str] = []  # the service's address, then the second host's
        self.exchanges = ""
        self.service: RestartedProcess | None = None
        self.second_api: RestartedProcess | None = None
        self.second_worker: RestartedProcess | None = None
        self.second_live: RestartedProcess | None = None
        self._helpers: list[asyncio.subprocess.Process] = []
        self._session: aiohttp.ClientSession | None = None
        self._logs: list[IO[bytes]] = []
        self._opened = contextlib.AsyncExitStack()

    # --- start and end ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts everything and returns when the API answers. Raises DeploymentFailed."""
        self.redis_url, self.database_url, _ = await asyncio.gather(
            self._start_store(self.valkey), self._start_store(self.postgres), self._simulate()
        )
        await self._serve_rest()
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        await self._read_clock()
        ports = [str(_free_port()) for _ in range(2)]
        self.apis = [f"http://127.0.0.1:{port}" for port in ports]
        main, processes = str(ROOT / "main.py"), str(_API_PROCESSES)
        self.service = self._restarted(
            "service", [main, "serve"], PORT=ports[0], WEB_CONCURRENCY=processes
        )
        self.second_worker = self._restarted("worker-2", [main, "worker"])
        self.second_api = self._restarted("api-2", [main, "api"], PORT=ports[1])
        if self.plan.live:
            self.second_live = self._restarted("live-2", [main, "live"])
        deadline = time.monotonic() + _START_S
        while not await self.apis_answer():
            if time.monotonic() > deadline:
                tails = "\n".join(self.log_tail(name) for name in ("service", "api-2"))
                raise DeploymentFailed(f"the service did not start:\n{tails}")
            await asyncio.sleep(0.1)

    async def _start_store(self, server: EmbeddedServer) -> str:
        return await asyncio.to_thread(server.acquire, threading.Event())

    def _restarted(self, name: str, command: Sequence[str], **settings: str) -> RestartedProcess:
        folder = self.folder / name
        folder.mkdir()
        inherited = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        return RestartedProcess(
            name,
            command,
            {
                **inherited,
                "DATA_DIR": str(folder),
                **self._hot_store(over_rest=name in self.plan.over_rest),
                "REDIS_PREFIX": self.plan.prefix,
                "DATABASE_URL": self.database_url,
                "EXCHANGES": ",".join(EXCHANGES),
                **{f"{each.upper()}_BASE_URL": self.exchanges for each in EXCHANGES},
                "CRON_SECRET": CRON_SECRET,
                "SCHEDULES": "off",  # the plan says when what is asked for
                "WORKER_LOCK_TTL_S": str(LEASE_S),
                "HISTORY_CANDLES": str(CANDLES),
                "FUNDING_HISTORY": str(SETTLEMENTS),
                "LOG_FORMAT": "json",
                **(self._streams() if self.plan.live else {}),
                **settings,
            },
            self._log(name),
            self.report,
        )

    def _streams(self) -> dict[str, str]:
        address = self.exchanges.replace("http://", "ws://")
        return {
            "LIVE": "on",
            **{f"{each.upper()}_WS_URL": address for each in EXCHANGES},
            "PYTHONPATH": f"{ROOT / 'chaos' / 'passed_over'}{os.pathsep}{ROOT}",
            "CHAOS_PASSED_OVER": str(self._passed_over.path),
        }

    def _hot_store(self, *, over_rest: bool) -> dict[str, str]:
        if not over_rest:
            return {"REDIS_URL": self.redis_url}
        return {
            "UPSTASH_REDIS_REST_URL": self.rest_url,
            "UPSTASH_REDIS_REST_TOKEN": _REST_TOKEN,
            "UPSTASH_POLL_S": "1",
        }

    async def _serve_rest(self) -> None:
        """Starts the Upstash endpoint over the run's Valkey."""
        port = await self._start_helper(
            "rest",
            *("-m", "tests.upstash_endpoint", "--redis-url", self.redis_url),
            *("--token", _REST_TOKEN),
        )
        self.rest_url = f"http://127.0.0.1:{port}"

    async def _start_helper(self, name: str, *command: str, pass_fds: Sequence[int] = ()) -> str:
        """Starts a program of ours that announces itself on its first line; returns the line."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            cwd=ROOT,
            pass_fds=pass_fds,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log(name),
            start_new_session=True,
        )
        self._helpers.append(process)
        assert process.stdout is not None  # noqa: S101 - PIPE
        line = await asyncio.wait_for(process.stdout.readline(), _START_S)
        if not line:
            raise DeploymentFailed(f"{name} did not start:\n{self.log_tail(name)}")
        return line.decode().strip()

    async def _simulate(self) -> None:
        read_end, write_end = os.pipe()
        self._opened.callback(os.close, write_end)
        line = await self._start_helper(
            "simulator",
            *("-m", "simulator", "--port", "0", *(() if self.plan.live else ("--frozen",))),
            *("--now", str(self.plan.start_ms), "--seed", str(self.plan.seed % 2**31)),
            *(text for each in EXCHANGES for text in (f"--{each}", str(MARKETS))),
            *("--latency-ms", "3"),
            # On a busy machine, requests sent before a refusal may arrive a little later.
            *("--grace-seconds", "1.5", PARENT_FD_FLAG, str(read_end)),
            pass_fds=(read_end,),
        )
        os.close(read_end)
        self.exchanges = line.partition("listening on ")[2]
        if not self.exchanges:
            raise DeploymentFailed(f"the simulator did not start:\n{self.log_tail('simulator')}")

    async def _read_clock(self) -> None:
        """The exchanges' time flows since the simulator started."""
        if self.clock.flows:
            self.clock.set((await self.ask_simulator("/sim/clock"))["now_ms"])

    async def stop_service(self) -> None:
        """Stops the service and the second host's processes with SIGTERM."""
        await asyncio.gather(*(kept.stop() for kept in self.kept))
        self.service = self.second_api = self.second_worker = self.second_live = None

    async def stop(self) -> None:
        """Stops everything in reverse order, including processes that a fault left paused."""
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)
        await self.stop_service()
        if self._session is not None:
            await self._session.close()
        for helper in self._helpers:
            await _terminate(helper)
        for server in (self.postgres, self.valkey):
            await asyncio.to_thread(server.release)
            await asyncio.to_thread(server.remove)
        await self._opened.aclose()
        for log in self._logs:
            log.close()

    # --- questions -------------------------------------------------------------------------------

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None  # noqa: S101 - the deployment has started
        return self._session

    @property
    def kept(self) -> list[RestartedProcess]:
        """The processes that are restarted when they end."""
        every = (self.service, self.second_api, self.second_worker, self.second_live)
        return [kept for kept in every if kept]

    async def apis_answer(self) -> bool:
        """Whether the API of both hosts answers."""
        deadline = aiohttp.ClientTimeout(total=2)
        try:
            for api in self.apis:
                async with self.session.get(f"{api}/health", timeout=deadline) as answer:
                    if answer.status != 200:
                        return False
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        return True

    async def ask_simulator(self, path: str, body: Any = None, method: str = "") -> Any:
        """The JSON at one of the simulator's /sim paths; POST if there is a body."""
        method = method or ("GET" if body is None else "POST")
        async with self.session.request(method, self.exchanges + path, json=body) as answer:
            if answer.status != 200:
                raise DeploymentFailed(f"{method} {path}: {await answer.text()}")
            return await answer.json()

    async def move_clock(self, now_ms: int) -> None:
        """Advances the exchanges' clock to `now_ms`; it never goes back."""
        ahead_ms = now_ms - self.clock.now_ms()
        if ahead_ms <= 0:
            return
        if not self.clock.flows:
            self.clock.set(now_ms)
            await self.ask_simulator("/sim/clock", {"now_ms": now_ms})
            return
        # First the processes' clock: what exchanges say is then late, but never of the future.
        self._passed_over.add(ahead_ms / 1000)
        shown = await self.ask_simulator("/sim/clock", {"advance_ms": ahead_ms})
        self.clock.set(shown["now_ms"])

    def key(self, name: str) -> str:
        """The key in the hot store that has this name without REDIS_PREFIX."""
        return self.plan.prefix + name

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[Any]:
        """A client of the hot store with short timeouts; fails with RedisError or OSError."""
        client = redis.Redis.from_url(
            self.redis_url,
            socket_timeout=_STORE_ANSWER_S,
            socket_connect_timeout=_STORE_ANSWER_S,
        )
        try:
            yield client
        except RuntimeError as error:  # uvloop, of a connection that has just been closed
            raise ConnectionError(str(error)) from error
        finally:
            await client.aclose()

    async def lose_bases(self, store: Any) -> None:
        """Deletes the bases of all exchanges, which collections of all timeframes go on with."""
        for key in await store.keys(self.key("cache:base:*")):
            await store.delete(key)

    async def holder(self, lock: str = "lock:worker") -> int | None:
        """The pid of the process that holds a lease, or None."""
        try:
            async with self.store() as store:
                value = await store.get(self.key(lock))
        except (redis.RedisError, OSError):
            return None
        return int(value.rpartition(b":")[2]) if isinstance(value, bytes) else None

    def pids(self, command: str) -> list[int]:
        """The pids of `main.py <command>`, "api", "worker" or "live": those of the service, then
        the one of the second host."""
        found = []
        if self.service is not None and self.service.pid is not None:
            for child in _children(self.service.pid):
                with contextlib.suppress(psutil.Error):
                    words = child.cmdline()
                    if command in words and any(word.endswith("main.py") for word in words):
                        found.append(child.pid)
        second = {
            "api": self.second_api, "worker": self.second_worker, "live": self.second_live,
        }[command]  # fmt: skip
        if second is not None and second.pid is not None:
            found.append(second.pid)
        return found

    def server_pids(self, server: EmbeddedServer) -> list[int]:
        """The pids of a store's processes, its main one first."""
        return [
            process.pid
            for child in psutil.Process().children()
            if _named(child, server.programs)
            for process in (child, *_children(child.pid))
        ]

    def leftovers(self) -> list[str]:
        """Processes that still use our folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.cmdline())
                theirs = process.environ().get("DATA_DIR", "")
                if str(self.folder) in words or theirs.startswith(str(self.folder)):
                    found.append(f"{process.pid} {words}")
        return found

    # --- logs ------------------------------------------------------------------------------------

    def _log(self, name: str) -> IO[bytes]:
        log = (self.folder / f"{name}.log").open("ab")
        self._logs.append(log)
        return log

    def log_tail(self, name: str, lines: int = 12) -> str:
        path = self.folder / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    def crashes(self) -> list[str]:
        """Lines of the processes' logs that show an error in the product or the simulator."""
        found = []
        for name in ("service", "worker-2", "api-2", "live-2", "simulator"):
            path = self.folder / f"{name}.log"
            if path.exists():
                with path.open(errors="replace") as lines:
                    found += [f"{name}: {line.strip()}" for line in lines if _shows_crash(line)]
        return found


def _shows_crash(line: str) -> bool:
    words = (
        "job_crashed", "Traceback", "request_failed", "internal error", "never retrieved",
        "feed_fault",
    )  # fmt: skip
    return any(word in line for word in words)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _named(process: psutil.Process, names: Sequence[str]) -> bool:
    try:
        return process.name() in names and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


async def _terminate(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _memory_folder() -> str | None:
    """A folder in memory for the stores' files, if there is enough room."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > _ROOM_BYTES
    return str(memory) if roomy and os.access(memory, os.W_OK) else None


def _make_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="pc-chaos-", dir=_memory_folder()))
    folder.chmod(0o711)  # if we are root, PostgreSQL runs as another user, who must enter
    return folder


@contextlib.asynccontextmanager
async def open_deployment(
    plan: Plan, report: ViolationReport, keep_logs: Callable[[Path], None]
) -> AsyncIterator[Deployment]:
    """Yields a started deployment; `keep_logs` may copy logs from its folder at the end."""
    folder = await asyncio.to_thread(_make_folder)
    deployment = Deployment(plan, folder, report)
    try:
        try:
            await deployment.start()
            yield deployment
        finally:
            await asyncio.shield(asyncio.ensure_future(deployment.stop()))
            if left := deployment.leftovers():
                report.violate("no process left", "; ".join(left))
    finally:
        keep_logs(folder)
        shutil.rmtree(folder, ignore_errors=True)
