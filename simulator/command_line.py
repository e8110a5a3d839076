"""The simulator's command line: its options, the parts built from them, and the server's run."""

import argparse
import asyncio
import math
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop
from aiohttp import web

from simulator.archive import fault_kinds as archive_faults
from simulator.archive.server import Archive
from simulator.clock import FASTEST, Clock
from simulator.control import Control
from simulator.exchange_markets import ExchangeMarkets
from simulator.exchanges import ARCHIVE, EXCHANGES
from simulator.faults import EVENTS, KINDS, FaultRules, InvalidRule
from simulator.instants import instant_ms
from simulator.limits import LimitSettings
from simulator.pages import PageCache
from simulator.providers.building import build_providers
from simulator.recorded_universe import build_replay
from simulator.server import Server
from simulator.stats import Stats
from simulator.streams import settings as stream_settings
from simulator.streams.connections import Streams
from simulator.streams.fault_kinds import STREAM_KINDS
from simulator.streams.faults import StreamFaults
from simulator.streams.hub import Hub
from simulator.universe import GeneratorContext, build_universe

DESCRIPTION: Final = (
    f"Simulates {', '.join(exchange.title for exchange in EXCHANGES)} on one local port:\n"
    "the same paths, formats, rate limits and errors, with generated or recorded markets.\n"
    "Use the printed address as "
    + " and as ".join(f"{exchange.name.upper()}_BASE_URL" for exchange in EXCHANGES)
    + ",\nand with ws:// as "
    + " and as ".join(f"{e.name.upper()}_WS_URL" for e in EXCHANGES if e.streams is not None)
    + f".\nAs ARCHIVE_URL it is {ARCHIVE}."
)
_MARKETS: Final = 20  # of each exchange, by default
_PAGE_CACHE_BYTES: Final = 256_000_000
_STOP_S: Final = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the simulator's options to a parser of any program."""
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    add("--port", type=_port, default=8100, help="port; 0 takes a free one (8100)")
    for exchange in EXCHANGES:
        add(
            f"--{exchange.name}",
            type=_count,
            default=None,
            metavar="N",
            help=f"{exchange.title}: markets to collect, 0 to 2000 ({_MARKETS}; recorded: all)",
        )
    add("--seed", type=int, default=1, help="seed of the generated markets (1)")
    add(
        "--now",
        type=_instant,
        default=None,
        metavar="TIME",
        help="exchange time at the start, such as 2026-03-01T23:58:30Z or UTC milliseconds; it "
        "runs on from there (the real time)",
    )
    add(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="X",
        help=f"exchange time runs X times as fast, 1 to {FASTEST:.0f}, and with it latency, rate "
        "limits, bans and faults (1)",
    )
    add("--frozen", action="store_true", help="time stands still until POST /sim/clock moves it")
    add("--latency-ms", type=_amount, default=0.0, metavar="MS", help="delay of every answer (0)")
    add(
        "--recorded",
        type=Path,
        default=None,
        metavar="DIR",
        help="replay recorded lists and series from this folder, shifted in time to end now",
    )
    add(
        "--recorded-period",
        choices=("native", "newest"),
        default="native",
        help="if a symbol was recorded in several periods: use the one with native 8h candles "
        "(without open interest), or the newest (native)",
    )
    limits = parser.add_argument_group("limits")
    add = limits.add_argument
    add("--no-limits", action="store_true", help="count requests, but refuse none")
    add(
        "--grace-seconds",
        type=_amount,
        default=0.5,
        metavar="S",
        help="seconds after a refusal in which further requests do not count as violations (0.5)",
    )
    for exchange in EXCHANGES:
        exchange.add_options(limits)
    streams = parser.add_argument_group("streams (WebSockets, on the same port)")
    streams.add_argument(
        "--streams",
        default=None,
        metavar="JSON",
        help="settings as POST /sim/streams takes them, a JSON object with any of: "
        f"{stream_settings.HELP}",
    )
    providers = parser.add_argument_group("providers of prices, news, gas and others")
    providers.add_argument(
        "--providers",
        action="store_true",
        help="answer for all of them, too, at /<host><path>: the address is PROVIDERS_BASE_URL; "
        "with --recorded also what its folder providers has recorded",
    )
    faults = parser.add_argument_group("faults")
    own = [kind for exchange in EXCHANGES for kind in exchange.fault_kinds]
    of_archive = ", ".join(archive_faults.OWN_KINDS)
    kinds = ", ".join([*KINDS, *own, *EVENTS])
    of_streams = ", ".join(STREAM_KINDS)
    faults.add_argument(
        "--faults",
        default=None,
        metavar="JSON",
        help="a rule or a list of rules, or @FILE with them; fields: exchange, endpoint, symbol, "
        f"probability, count, after, duration_s and those of the kind; kinds: {kinds}; of the "
        f"WebSockets, with field stream: {of_streams}; of the archive, with fields endpoint "
        f"(klines, metrics, fundingRate), period (2026-06-20, 2026-05) and interval: {of_archive}",
    )
    faults.add_argument("--parent-fd", type=_pipe, default=None, metavar="FD",
        help="end when this inherited pipe closes, because the parent has ended")  # fmt: skip


def _count(text: str) -> int:
    return _integer(text, most=2000)


def _port(text: str) -> int:
    return _integer(text, most=65535)


def _integer(text: str, *, most: int) -> int:
    if not (text.isdecimal() and int(text) <= most):
        raise argparse.ArgumentTypeError(f"must be 0 to {most}")
    return int(text)


def _instant(text: str) -> int:
    try:
        return instant_ms(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _speed(text: str) -> float:
    speed = _amount(text)
    if not 1 <= speed <= FASTEST:
        raise argparse.ArgumentTypeError(f"must be 1 to {FASTEST:.0f}")
    return speed


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise argparse.ArgumentTypeError("must be a number of at least 0")
    return amount


def _pipe(text: str) -> int:
    try:
        if stat.S_ISFIFO(os.fstat(int(text)).st_mode):
            return int(text)
    except (ValueError, OverflowError, OSError):
        pass
    raise argparse.ArgumentTypeError("must be the descriptor of an inherited pipe")


def run(args: argparse.Namespace) -> int:
    """Serves until SIGINT, SIGTERM or the parent's end. Exit code 0, 2 for wrong options."""
    try:
        server = build(args)
    except (InvalidRule, OSError, ValueError) as error:
        print(f"simulator: {error}", file=sys.stderr)  # noqa: T201 - for the user
        return 2
    try:
        uvloop.run(_serve(server, args))
    except OSError as error:
        print(f"simulator: {error}", file=sys.stderr)  # noqa: T201 - the same
        return 1
    return 0


def build(args: argparse.Namespace) -> Server:
    """Builds the server. Raises InvalidRule for bad --faults, OSError for unreadable files."""
    names = [exchange.name for exchange in EXCHANGES]
    clock = Clock(args.now, exchanges=names, frozen=args.frozen, speed=args.speed)
    stats = Stats()
    simulated = ExchangeMarkets(
        clock, args.seed, PageCache(_PAGE_CACHE_BYTES), {e.name: {} for e in EXCHANGES}
    )
    counts = {exchange: getattr(args, exchange.name) for exchange in EXCHANGES}
    context = None
    recorded_candles: Callable[[str, str, str], Any] = _nothing_recorded
    if args.recorded is None:
        wanted = {e: _MARKETS if count is None else count for e, count in counts.items()}
        context = GeneratorContext.open(args.seed, clock.now_ms(), sum(wanted.values()))
        markets = build_universe(context, wanted)
    else:
        replay = build_replay(
            args.recorded, clock.now_ms(), args.seed, args.recorded_period, counts
        )
        markets, recorded_candles = replay.markets, replay.native_candles
        simulated.recorded_lists = replay.lists
    for market in markets:
        simulated.add(market)
    exchanges = {e.name: e(simulated, stats, args) for e in EXCHANGES}
    own_kinds = {e.name: e.fault_kinds for e in EXCHANGES}
    faults = FaultRules(args.seed, {**own_kinds, archive_faults.NAME: archive_faults.OWN_KINDS})
    streams = _streams(simulated, stats, faults, args)
    control = Control(simulated, exchanges, stats, faults, context, recorded_candles, streams)
    if args.faults:
        control.add_faults(_rules(args.faults))
    latency_s = args.latency_ms / 1000
    providers = None
    if args.providers:
        folder = args.recorded / "providers" if args.recorded is not None else None
        limited = not args.no_limits
        providers = build_providers(
            simulated, exchanges, context, folder, limited=limited, latency_s=latency_s
        )
    archive = Archive(simulated, stats, faults, latency_s=latency_s)
    return Server(
        exchanges, stats, faults, control, streams, archive, providers, latency_s=latency_s
    )


def _streams(
    markets: ExchangeMarkets, stats: Stats, faults: FaultRules, args: argparse.Namespace
) -> Streams:
    kinds = {e.name: e.streams for e in EXCHANGES if e.streams is not None}
    settings = stream_settings.StreamSettings(
        {n: {"silent_closings": k.silent_closings, "life_s": k.life_s} for n, k in kinds.items()}
    )
    if args.streams:
        settings.set(_json("--streams", args.streams))
    hubs = {
        name: Hub(kind(markets, settings, args), stats, StreamFaults(faults, name))
        for name, kind in kinds.items()
    }
    limits = LimitSettings(enabled=not args.no_limits, grace_s=args.grace_seconds)
    return Streams(hubs, markets, stats, settings, limits)


def _nothing_recorded(exchange: str, symbol: str, interval: str) -> Any:
    raise ValueError("started without --recorded")


def _rules(text: str) -> Any:
    return _json("--faults", Path(text[1:]).read_bytes() if text.startswith("@") else text)


def _json(option: str, text: str | bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRule(f"{option} is not JSON: {error}") from None


async def _serve(server: Server, args: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    if args.parent_fd is not None:
        _watch_parent(loop, args.parent_fd, done)
    runner = web.ServerRunner(web.Server(server.handle, access_log=None), shutdown_timeout=_STOP_S)
    await runner.setup()
    pushing = loop.create_task(server.streams.run())
    try:
        site = web.TCPSite(runner, args.host, args.port, backlog=1024, reuse_address=True)
        await site.start()
        host, port = runner.addresses[0][:2]
        print(f"listening on http://{host}:{port}", flush=True)  # noqa: T201 - the ready line
        stopped = loop.create_task(done.wait())
        await asyncio.wait((stopped, pushing), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if pushing.done():
            pushing.result()  # an exception of the streams ends the simulator
    finally:
        pushing.cancel()
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
