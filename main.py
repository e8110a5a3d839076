"""Entry point: the command line, the composition of the parts, start and stop.

This module alone builds Settings and starts things; every part gets what it needs from here.
A process loads only what it runs: what one command alone needs is imported where it begins, so a
worker has no web framework in memory, the API no numerics, and their supervisor neither.
"""

import argparse
import asyncio
import contextlib
import gc
import ipaddress
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import SecretStr

from commands.open_files import raise_open_file_limit
from commands.supervisor import (
    PARENT_FD_FLAG,
    READY_WORDS,
    Child,
    ChildSpec,
    stop_signals,
    watch_parent,
)
from config import Settings, SettingsError, load_settings
from logging_setup import configure_logging
from market.timeframes import COLLECTED

if TYPE_CHECKING:
    from api.parts import Parts
    from job_queue.local_wakeup import LocalWakeup
    from jobs.context import JobContext

# sysexits.h: EX_TEMPFAIL (try again later), EX_CONFIG, EX_UNAVAILABLE.
EXIT_CONFIG: Final = 78
EXIT_UNAVAILABLE: Final = 69
_READY_S: Final = 30.0
_HEALTH_REQUEST: Final = b"GET /health HTTP/1.1\r\nHost: perpcache\r\nConnection: close\r\n\r\n"
# A stop may take 3 s: the readers' head start, a child's own time, and the embedded stores'.
_READERS_FIRST_S: Final = 0.4
_CHILD_STOP_S: Final = 1.3

# New objects until the next search for unused cycles: an answer alone brings thousands, and what
# a failed request leaves behind is a few dozen.
_CYCLES_AFTER: Final = 20_000

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Around the start of a long-running process: no cycles are searched for meanwhile, and what
    it has loaded by its end, which stays for good, is never searched again."""
    # What numpy has to do here is far too little to share out among threads, one for each core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(_CYCLES_AFTER)
        gc.enable()


@contextlib.asynccontextmanager
async def embedded_stores(settings: Settings) -> AsyncIterator[Settings]:
    """Starts or joins the stores that no setting names; yields settings that name them all."""
    valkey = settings.redis_url is None and settings.upstash_redis_rest_url is None
    postgres = settings.database_url is None
    if not valkey and not postgres:
        yield settings
        return
    from stores.embedded.stores import EmbeddedStores

    stores = EmbeddedStores(settings.data_dir, valkey=valkey, postgres=postgres)
    addresses = await stores.start()
    try:
        urls = {"redis_url": addresses.redis_url, "database_url": addresses.database_url}
        yield settings.model_copy(
            update={name: SecretStr(url) for name, url in urls.items() if url is not None}
        )
    finally:
        await stores.stop()


@contextlib.asynccontextmanager
async def open_parts(settings: Settings, role: str) -> AsyncIterator["Parts"]:
    """The stores' clients, closed in reverse order; `role` names them at the server."""
    from api.parts import Parts
    from cache_manager import CacheManager
    from database import Database
    from job_queue.queue import JobQueue
    from stores.hot.opening import open_hot_store

    async with contextlib.AsyncExitStack() as opened:
        settings = await opened.enter_async_context(embedded_stores(settings))
        store = open_hot_store(settings, client_name=f"perpcache-{role}")
        opened.push_async_callback(store.aclose)
        queue_store = open_hot_store(settings, client_name=f"perpcache-{role}-queue")
        opened.push_async_callback(queue_store.aclose)
        assert settings.database_url is not None  # noqa: S101 - embedded_stores saw to it
        database = Database(settings.database_url.get_secret_value())
        opened.push_async_callback(database.aclose)
        queue = JobQueue(queue_store, wake_local=local_wakeup(settings).wake)
        opened.push_async_callback(queue.aclose)
        yield Parts(store, CacheManager(store), queue, database)


@contextlib.asynccontextmanager
async def open_job_context(settings: Settings, role: str) -> AsyncIterator["JobContext"]:
    """The parts that run jobs, with a client of the exchanges."""
    from data_collector.exchange_client import ExchangeClient
    from job_queue.kinds import IDS_BY_LANE
    from jobs.context import JobContext
    from metrics.worker import WorkerMetrics

    metrics = WorkerMetrics()
    metrics.watch_jobs(IDS_BY_LANE.items())
    async with (
        open_parts(settings, role) as parts,
        ExchangeClient(settings, store=parts.store, metrics=metrics.exchange) as client,
    ):
        yield JobContext(
            settings, parts.store, parts.cache, parts.queue, parts.database, client, metrics
        )


def local_wakeup(settings: Settings) -> "LocalWakeup":
    """Where the API wakes the workers of this host: those with the same DATA_DIR."""
    from job_queue.local_wakeup import LocalWakeup

    return LocalWakeup(settings.data_dir / "bells")


def holder_name() -> str:
    """Who we are to others who wait for a lease."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def supervise(settings: Settings, stop: asyncio.Event, *, with_worker: bool) -> int:
    """Keeps the API processes, and the worker, running as children until `stop`."""
    listener = _listen(settings)
    apis = [
        Child(_child(name, "api", "--name", name, "--fd", str(listener.fileno()), fd=listener))
        for name in settings.api_names
    ]
    workers = [Child(_child("worker", "worker"))] if with_worker else []
    async with embedded_stores(settings) as found, asyncio.TaskGroup() as running:
        for child in (*apis, *workers):
            running.create_task(child.keep_running(), name=child.spec.name)
        announce = running.create_task(_announce(listener))
        if found.redis_url != settings.redis_url and found.redis_url is not None:
            # Ours has no password: its socket is in a folder that only this user may enter.
            say(f"Perpcache: embedded Redis at {found.redis_url.get_secret_value()}")
        await stop.wait()
        log.info("stopping")
        announce.cancel()
        # Whoever reads is answered first, then the worker hands its job back, then the stores.
        readers = asyncio.gather(*(child.stop(_CHILD_STOP_S) for child in apis))
        await asyncio.wait([readers], timeout=_READERS_FIRST_S)
        await asyncio.gather(readers, *(child.stop(_CHILD_STOP_S) for child in workers))
        listener.close()
    return 0


def _child(name: str, *arguments: str, fd: socket.socket | None = None) -> ChildSpec:
    program = str(Path(__file__).resolve())
    return ChildSpec(name, (program, *arguments), (fd.fileno(),) if fd else ())


def _listen(settings: Settings) -> socket.socket:
    """Our address, taken once and shared by the API processes, so that none is ever refused."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        raise CannotStart(
            f"cannot listen on HOST {settings.host} PORT {settings.port}: {error.strerror}"
        ) from None
    listener.setblocking(False)
    warn_if_open(settings, listener.getsockname()[0])
    return listener


def warn_if_open(settings: Settings, address: str) -> None:
    """Where others can reach the port, a POST without a token lets anybody start collections."""
    token = settings.api_token and settings.api_token.get_secret_value()
    if token or ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return
    log.warning(
        "anybody_may_start_collections",
        host=settings.host,
        reason="this address is beyond loopback and API_TOKEN is not set",
    )


class CannotStart(Exception):
    """The command cannot begin; the message is the one line that the user reads."""


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _announce(listener: socket.socket) -> None:
    """Says where we listen once the API answers there."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _READY_S
    host, port = listener.getsockname()[:2]
    while loop.time() < deadline:
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(
                    b"GET /health HTTP/1.1\r\nHost: perpcache\r\nConnection: close\r\n\r\n"
                )
                status = await reader.readline()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            status = b""
        if b" 200 " in status:
            break
        await asyncio.sleep(0.05)
    say(f"Perpcache: {READY_WORDS}{_address(listener)} (documentation at /docs)")


async def api(settings: Settings, stop: asyncio.Event, fd: int | None, name: str) -> int:
    """One API process, on an inherited socket or on HOST and PORT; `name` tells it from others
    behind the same socket."""
    if fd is None and settings.web_concurrency > 1:
        return await supervise(settings, stop, with_worker=False)

    with starting():
        from api.connections.protocol import Crowd
        from api.connections.server import serve_app
        from api_routes import create_app
        from metrics.api import ApiMetrics

        # Those behind one socket are the children of one supervisor.
        several = settings.web_concurrency > 1
        group = f"{socket.gethostname()}:{os.getppid()}" if several else None
        metrics = ApiMetrics(name, group=group)
        app = create_app(settings, lambda: open_parts(settings, "api"), metrics=metrics)
    listener = socket.socket(fileno=fd) if fd is not None else _listen(settings)
    crowd = Crowd.within(raise_open_file_limit(), metrics)
    if fd is None:
        say(f"Perpcache API: {READY_WORDS}{_address(listener)}")
    started = await serve_app(app, listener, stop, crowd, before_end=app.release_waiters)
    return 0 if started else 1


async def work(settings: Settings, stop: asyncio.Event) -> int:
    """One worker process: both lanes, until `stop`."""
    raise_open_file_limit()
    async with contextlib.AsyncExitStack() as opened:
        with starting():
            from jobs.due import keep_asking
            from metrics.event_loop import loop_watched
            from worker import Worker

            context = await opened.enter_async_context(open_job_context(settings, "worker"))
        if context.store.kind != "native":
            opened.enter_context(local_wakeup(settings).listening(context.queue.wake))
        await opened.enter_async_context(loop_watched(context.metrics.loop_lag))
        running = await opened.enter_async_context(asyncio.TaskGroup())
        running.create_task(keep_asking(context, stop), name="schedule")
        running.create_task(Worker(context, holder=holder_name()).run(stop), name="worker")
    return 0


def _remember_exchanges(settings: Settings) -> None:
    """A DATA_DIR belongs to the exchange addresses that filled it.

    Raises CannotStart when it was filled from others: simulated and real markets never mix.
    """
    file = settings.data_dir / "exchanges.json"
    ours = {str(exchange): settings.base_url(exchange) for exchange in settings.exchanges}
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        theirs: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        for exchange, address in ours.items():
            if theirs.get(exchange, address) != address:
                raise CannotStart(
                    f"DATA_DIR {settings.data_dir} was filled from {exchange} at "
                    f"{theirs[exchange]}, not {address}: set another DATA_DIR"
                )
        if theirs | ours != theirs:
            draft = file.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(theirs | ours, indent=1) + "\n")
            draft.replace(file)
    except (OSError, ValueError) as error:
        raise CannotStart(f"DATA_DIR {settings.data_dir} cannot be used: {error}") from None


def say(line: str) -> None:
    """A line for the user, on standard output; logs go to standard error."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


Command = Callable[[Settings, asyncio.Event, argparse.Namespace], Coroutine[Any, Any, int]]


async def _serve(settings: Settings, stop: asyncio.Event, _: argparse.Namespace) -> int:
    return await supervise(settings, stop, with_worker=True)


async def _api(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    return await api(settings, stop, arguments.fd, arguments.name)


async def _work(settings: Settings, stop: asyncio.Event, _: argparse.Namespace) -> int:
    return await work(settings, stop)


async def _foreground(
    settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace
) -> int:
    job_id = f"collect:{arguments.timeframe}" if arguments.command == "collect" else "funding"
    async with contextlib.AsyncExitStack() as opened:
        with starting():
            from commands.foreground import run_here

            context = await opened.enter_async_context(
                open_job_context(settings, arguments.command)
            )
        return await run_here(
            context, job_id, holder=holder_name(), wait=not arguments.no_wait, stop=stop
        )


async def _coins(settings: Settings, _: asyncio.Event, arguments: argparse.Namespace) -> int:
    from commands import coins as coins_command

    async with open_parts(settings, "coins") as parts:
        say(await coins_command.run_coins(parts.database, arguments))
    return 0


COMMANDS: Final[dict[str, Command]] = {
    "serve": _serve,
    "api": _api,
    "worker": _work,
    "collect": _foreground,
    "funding": _foreground,
    "coins": _coins,
}


class _LateParser(argparse.ArgumentParser):
    """A parser whose arguments another module knows, which is loaded when they are asked for."""

    fill: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        fill, self.fill = self.fill, None
        if fill is not None:
            fill(self)
        return super().parse_known_args(*args, **kwargs)


def _coins_arguments(parser: argparse.ArgumentParser) -> None:
    from commands.coins import add_arguments

    add_arguments(parser)


def _simulator_arguments(parser: argparse.ArgumentParser) -> None:
    from simulator.command_line import add_arguments

    add_arguments(parser)


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    from commands.demo import MARKETS

    parser.add_argument("--markets", type=int, default=MARKETS, help="on each exchange")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python main.py",
        description="Perpcache: candles, open interest and funding of every perpetual contract on "
        "Binance and Bybit, collected once and served to many.",
        epilog="Settings come from the environment or a .env file; README.md lists them.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_LateParser)
    internal = _LateParser(add_help=False)
    internal.add_argument(PARENT_FD_FLAG, type=int, default=None, help=argparse.SUPPRESS)

    def add(name: str, what: str, *parents: _LateParser) -> _LateParser:
        return commands.add_parser(name, help=what, description=what, parents=parents)

    add("serve", "the whole service: API and worker, supervised (the default)", internal)
    api_only = add("api", "the HTTP API alone, for hosts of its own", internal)
    api_only.add_argument("--fd", type=int, default=None, help=argparse.SUPPRESS)
    api_only.add_argument("--name", default="api-1", help=argparse.SUPPRESS)
    add("worker", "the worker alone, for hosts of its own", internal)
    no_wait = "exit 75 when another process holds the lease, instead of waiting for it"
    collect = add("collect", "collect one timeframe here and now, under the lease", internal)
    collect.add_argument("timeframe", choices=[str(timeframe) for timeframe in COLLECTED])
    collect.add_argument("--no-wait", action="store_true", help=no_wait)
    funding = add("funding", "refresh the funding cache here and now, under the lease", internal)
    funding.add_argument("--no-wait", action="store_true", help=no_wait)
    coins = add("coins", "the markets: list, enable, disable, import and export as CSV")
    coins.fill = _coins_arguments
    simulate = add("simulate", "both exchanges on a local port, for trying things")
    simulate.fill = _simulator_arguments
    show = add("demo", "the whole service against simulated exchanges, then cleaned up")
    show.fill = _demo_arguments
    parser.set_defaults(command="serve", parent_fd=None)
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    if arguments.command == "simulate":
        from simulator import command_line

        return command_line.run(arguments)
    try:
        if arguments.command == "demo":
            from commands import demo as demo

            return asyncio.run(demo.run_demo(arguments.markets))
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format)
        if arguments.command not in ("api", "coins"):  # these ask no exchange
            _remember_exchanges(settings)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_run(COMMANDS[arguments.command], settings, arguments))
    except SettingsError as error:
        say_wrong(*error.lines)
        return EXIT_CONFIG
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        say_wrong(*str(error).splitlines())
        return code


def _exit_code(error: Exception) -> int | None:
    """For errors whose message is for the user; None for all others."""
    from commands.coins import CoinsError
    from database import DatabaseUnavailable
    from stores.embedded.stores import EmbeddedStoresError
    from stores.hot.store import StoreUnavailable

    if isinstance(error, CoinsError):
        return 1
    unavailable = (CannotStart, EmbeddedStoresError, StoreUnavailable, DatabaseUnavailable)
    return EXIT_UNAVAILABLE if isinstance(error, unavailable) else None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it exists: it is not made for Windows."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(command: Command, settings: Settings, arguments: argparse.Namespace) -> int:
    stop = asyncio.Event()
    if arguments.parent_fd is not None:
        watch_parent(arguments.parent_fd, stop.set)
    with stop_signals(stop.set):
        return await command(settings, stop, arguments)


def say_wrong(*lines: str) -> None:
    for line in lines:
        sys.stderr.write(f"perpcache: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
