"""The command line: options into parts, the server's life from the ready line to its end."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop
from aiohttp import web

from simulator.answers import World
from simulator.clock import EXCHANGES, Clock
from simulator.control import Control
from simulator.faults import EVENTS, KINDS, FaultBook, WrongRule
from simulator.limits import Limits, LimitSettings
from simulator.pages import PageCache
from simulator.recorded_universe import build_replay
from simulator.server import Server
from simulator.stats import Stats
from simulator.universe import Workshop, build_universe

DESCRIPTION: Final = (
    "Answers as Binance USD-M futures and Bybit v5 linear do, on one port of this machine:\n"
    "the same paths, formats, limits and mistakes, with generated or recorded markets.\n"
    "Use the printed address as BINANCE_BASE_URL and as BYBIT_BASE_URL."
)
_PAGE_CACHE_BYTES: Final = 256_000_000
_STOP_S: Final = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the simulator's options to a parser of any program."""
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    add("--port", type=int, default=8100, help="port; 0 takes a free one (8100)")
    add(
        "--binance",
        type=_count,
        default=None,
        metavar="N",
        help="Binance markets to collect, 0 to 2000 (20; recorded: all)",
    )
    add(
        "--bybit",
        type=_count,
        default=None,
        metavar="N",
        help="Bybit markets to collect, 0 to 2000 (20; recorded: all)",
    )
    add("--seed", type=int, default=1, help="another seed makes other markets (1)")
    add(
        "--now",
        type=int,
        default=None,
        metavar="MS",
        help="exchange time at the start, UTC milliseconds (the real time)",
    )
    add("--frozen", action="store_true", help="time stands still until POST /sim/clock moves it")
    add("--latency-ms", type=float, default=0.0, metavar="MS", help="delay of every answer (0)")
    add(
        "--recorded",
        type=Path,
        default=None,
        metavar="DIR",
        help="replay recorded lists and series from this folder, moved in time so that they end "
        "now",
    )
    add(
        "--recorded-period",
        choices=("native", "newest"),
        default="native",
        help="where one symbol was recorded in several periods: the one with native 8h candles "
        "(then without open interest), or the newest (native)",
    )
    limits = parser.add_argument_group("limits")
    add = limits.add_argument
    add("--no-limits", action="store_true", help="count, but let everything through")
    add(
        "--weight-limit",
        type=int,
        default=2400,
        metavar="N",
        help="Binance weight per minute (2400)",
    )
    add(
        "--funding-limit",
        type=int,
        default=500,
        metavar="N",
        help="Binance funding requests per 5 minutes (500)",
    )
    add(
        "--data-limit",
        type=int,
        default=1000,
        metavar="N",
        help="Binance /futures/data requests per 5 minutes (1000)",
    )
    add(
        "--bybit-limit",
        type=int,
        default=600,
        metavar="N",
        help="Bybit requests per 5 seconds (600)",
    )
    add(
        "--ban-seconds",
        type=float,
        default=120.0,
        metavar="S",
        help="first Binance ban after a 429 that was not heeded; doubles (120)",
    )
    add(
        "--grace-seconds",
        type=float,
        default=0.5,
        metavar="S",
        help="how long after a 429 a further request is not yet a reason for a ban (0.5)",
    )
    add(
        "--bybit-ban-seconds",
        type=float,
        default=600.0,
        metavar="S",
        help="how long Bybit's 403 lasts (600)",
    )
    add("--no-retry-after", action="store_true", help="429 and 418 without Retry-After")
    add("--bapi-headers", action="store_true", help="X-Bapi-Limit headers on public calls")
    faults = parser.add_argument_group("faults")
    kinds = ", ".join([*KINDS, *EVENTS])
    faults.add_argument(
        "--faults",
        default=None,
        metavar="JSON",
        help="a rule or a list of rules, or @FILE with them; fields: exchange, endpoint, symbol, "
        f"probability, count, after, duration_s and what the kind needs; kinds: {kinds}",
    )
    faults.add_argument("--parent-fd", type=int, default=None, metavar="FD",
        help="end when this inherited pipe closes: the parent is gone")  # fmt: skip


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 2000:
        raise argparse.ArgumentTypeError("0 to 2000")
    return value


def run(args: argparse.Namespace) -> int:
    """Serves until SIGINT, SIGTERM or the parent's end. Exit code 0, 2 for wrong options."""
    try:
        server = build(args)
    except (WrongRule, OSError, ValueError) as error:
        print(f"simulator: {error}", file=sys.stderr)  # noqa: T201 - a program's word to its user
        return 2
    try:
        uvloop.run(_serve(server, args))
    except OSError as error:
        print(f"simulator: {error}", file=sys.stderr)  # noqa: T201 - the same
        return 1
    return 0


def build(args: argparse.Namespace) -> Server:
    """The parts, put together. Raises WrongRule for bad --faults, OSError for bad files."""
    clock = Clock(args.now, frozen=args.frozen)
    settings = LimitSettings(
        enabled=not args.no_limits,
        weight_a_minute=args.weight_limit,
        funding_in_5_minutes=args.funding_limit,
        data_in_5_minutes=args.data_limit,
        bybit_in_5_s=args.bybit_limit,
        ban_s=args.ban_seconds,
        grace_s=args.grace_seconds,
        bybit_ban_s=args.bybit_ban_seconds,
        retry_after=not args.no_retry_after,
    )
    world = World(
        clock, args.seed, settings, PageCache(_PAGE_CACHE_BYTES), {e: {} for e in EXCHANGES}
    )
    shop = None
    recorded_candles: Callable[[str, str, str], Any] = _nothing_recorded
    if args.recorded is None:
        counts = [20 if n is None else n for n in (args.binance, args.bybit)]
        shop = Workshop.open(args.seed, clock.now_ms(), sum(counts))
        markets = build_universe(shop, *counts)
    else:
        replay = build_replay(
            args.recorded, clock.now_ms(), args.seed, args.recorded_period, args.binance, args.bybit
        )
        markets, recorded_candles = replay.markets, replay.native_candles
        funding_info = {entry["symbol"]: entry for entry in replay.funding_info}
        world.recorded_lists = {**replay.lists, "binance funding": funding_info}
    for market in markets:
        world.add(market)
    stats, faults = Stats(), FaultBook(args.seed)
    limits = Limits(settings, clock, stats)
    control = Control(world, limits, stats, faults, shop, recorded_candles)
    if args.faults:
        control.add_faults(_rules(args.faults))
    return Server(
        world, limits, stats, faults, control,
        latency_s=args.latency_ms / 1000, limit_headers=args.bapi_headers,
    )  # fmt: skip


def _nothing_recorded(exchange: str, symbol: str, interval: str) -> Any:
    raise ValueError("started without --recorded")


def _rules(text: str) -> Any:
    try:
        return orjson.loads(Path(text[1:]).read_bytes() if text.startswith("@") else text)
    except orjson.JSONDecodeError as error:
        raise WrongRule(f"--faults is not JSON: {error}") from None


async def _serve(server: Server, args: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    if args.parent_fd is not None:
        _watch_parent(loop, args.parent_fd, done)
    runner = web.ServerRunner(web.Server(server.handle, access_log=None), shutdown_timeout=_STOP_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, args.host, args.port, backlog=1024, reuse_address=True)
        await site.start()
        host, port = runner.addresses[0][:2]
        print(f"listening on http://{host}:{port}", flush=True)  # noqa: T201 - the ready line
        await done.wait()
    finally:
        await runner.cleanup()


def _watch_parent(loop: asyncio.AbstractEventLoop, fd: int, done: asyncio.Event) -> None:
    os.set_blocking(fd, False)

    def look() -> None:
        try:
            gone = os.read(fd, 4096) == b""
        except BlockingIOError:
            gone = False
        if gone:
            loop.remove_reader(fd)
            done.set()

    loop.add_reader(fd, look)
