"""The names and arguments of the command line's commands, one row for each command.

`--help` must be fast, so this module imports only the names of timeframes and jobs.
"""

import argparse
import contextlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from commands.import_arguments import add_import_arguments
from commands.selection_arguments import add_selection
from job_queue.kinds import ALL, KINDS
from market.markets import Exchange
from market.timeframes import Timeframe

PARENT_FD_FLAG: Final = "--parent-fd"
DEMO_MARKETS: Final = 30
MOST_DEMO_MARKETS: Final = 2000  # of the simulator
SQL_FORMATS: Final = ("table", "csv", "json")
EXPORT_FORMATS: Final = ("parquet", "csv", "freqtrade")
LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
MOST_LOG_LINES: Final = 1000
_NO_WAIT: Final = "exit 75 when another process holds the lease, instead of waiting for it"


@dataclass(frozen=True, slots=True)
class CommandRow:
    """A command: its name, a one-line summary, and the function that adds its arguments."""

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]


def _supervised(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(PARENT_FD_FLAG, type=_pipe, default=None, help=argparse.SUPPRESS)


def _pipe(text: str) -> int:
    return _inherited(text, stat.S_ISFIFO, "pipe")


def _socket(text: str) -> int:
    return _inherited(text, stat.S_ISSOCK, "socket")


def _inherited(text: str, is_kind: Callable[[int], bool], kind: str) -> int:
    try:
        if is_kind(os.fstat(int(text)).st_mode):
            return int(text)
    except (ValueError, OverflowError, OSError):
        pass
    raise argparse.ArgumentTypeError(f"must be the descriptor of an inherited {kind}")


def _serve(parser: argparse.ArgumentParser) -> None:
    _supervised(parser)
    parser.add_argument(
        "--one-process",
        action="store_true",
        help="API, worker and live feeds in one process, for tests and tiny hosts",
    )


def _worker(parser: argparse.ArgumentParser) -> None:
    _supervised(parser)
    parser.add_argument(
        "--no-beat", action="store_true", help="fire no schedules: another process does"
    )


def _api(parser: argparse.ArgumentParser) -> None:
    _supervised(parser)
    parser.add_argument("--fd", type=_socket, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--name", default="api-1", help=argparse.SUPPRESS)


def _collect(parser: argparse.ArgumentParser) -> None:
    made = [f"{t} comes with {t.collected_as}" for t in Timeframe if t.collected_as is not t]
    parser.add_argument(
        "timeframe",
        choices=[*map(str, Timeframe), ALL],
        help=f"candle length; {', '.join(made)}; {ALL}: those of TIMEFRAMES in one pass",
    )
    _one_job(parser)


def _one_job(parser: argparse.ArgumentParser) -> None:
    _supervised(parser)
    parser.add_argument("--no-wait", action="store_true", help=_NO_WAIT)


def _coins(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("list", help="every market and its state")
    show.add_argument("--exchange", choices=list(Exchange), default=None)
    for name, what in (("enable", "collect these again"), ("disable", "do not collect these")):
        action = actions.add_parser(name, help=what)
        action.add_argument("market", nargs="+", help="such as binance:BTCUSDT")
    export = actions.add_parser("export", help="write all markets and their numbers as CSV")
    export.add_argument("file", nargs="?", default="-", help="a path, or - for standard output")
    load = actions.add_parser("import", help="read markets from CSV, all or none")
    load.add_argument("file", help="as `export` writes it; absent columns keep the stored values")


def _workers(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="every worker: when it runs, and how it did last")
    run = actions.add_parser("run", help="run one here and now, and print what it returns")
    run.add_argument("name", help="the worker's name")
    run.add_argument("--input", type=_json_object, metavar="JSON", help="an object (none)")
    for name, what in (("pause", "fire these no more"), ("resume", "fire these again")):
        action = actions.add_parser(name, help=what)
        action.add_argument("name", nargs="+", help="the worker's name")
    logs = actions.add_parser("logs", help="what workers have logged")
    logs.add_argument("name", nargs="?", default=None, help="the worker's name (all)")
    logs.add_argument("--run", type=int, default=None, metavar="ID", help="of this run alone")
    logs.add_argument("--level", choices=LOG_LEVELS, default=None, help="of this level and above")
    logs.add_argument(
        "--lines", type=_lines, default=100, metavar="N", help="at most the newest N (100)"
    )
    logs.add_argument("--follow", action="store_true", help="go on with new ones until stopped")


def _providers(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("list", help="every resource: whether it is asked, and how it does")
    probe = actions.add_parser(
        "probe", help="ask resources one small question each; those that are off and answer go on"
    )
    for action, all_of_them in ((show, "all"), (probe, "all that can be asked")):
        action.add_argument(
            "id", nargs="*", help=f"a resource, a chain or a provider ({all_of_them})"
        )
        action.add_argument("--json", action="store_true", help="for programs")


def _unpause(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Lifts our own pause of an exchange for all processes at this address (EGRESS_ID). A ban is"
        " the exchange's own: only it can end that, and asking during a ban makes it longer."
    )
    parser.add_argument("name", metavar="NAME", help="of EXCHANGES, such as binance")


def _notify_test(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--check", action="store_true", help="check the addresses alone, and send nothing"
    )


def _json_object(text: str) -> dict[str, object]:
    with contextlib.suppress(ValueError):
        if isinstance(found := json.loads(text), dict):
            return found
    raise argparse.ArgumentTypeError("must be a JSON object")


def _lines(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text[:6]) <= MOST_LOG_LINES):
        raise argparse.ArgumentTypeError(f"must be 1 to {MOST_LOG_LINES}")
    return int(text)


def _sql(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "statement",
        nargs="?",
        metavar="STATEMENT",
        help='one statement, such as "SELECT * FROM candles LIMIT 5"; without it one is read from'
        " standard input, or psql is opened if that is a terminal",
    )
    parser.add_argument(
        "--format", choices=SQL_FORMATS, default=SQL_FORMATS[0], help=f"({SQL_FORMATS[0]})"
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=60.0,
        metavar="S",
        help="seconds that the database may take for each 1000 rows (60)",
    )
    parser.add_argument(
        "--url",
        action="store_true",
        help="print the address for other programs, with its password, and exit",
    )


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="where the files are, or will be")
    parser.add_argument(
        "--format",
        choices=EXPORT_FORMATS,
        default=EXPORT_FORMATS[0],
        help=f"({EXPORT_FORMATS[0]}); freqtrade: DIR is its user_data/data",
    )
    parser.add_argument("--exchange", nargs="+", choices=list(Exchange), help="(all)")
    parser.add_argument("--symbol", nargs="+", metavar="S", help="such as BTCUSDT (all)")
    parser.add_argument("--timeframe", nargs="+", choices=list(Timeframe), help="of candles (all)")
    parser.add_argument("--from", dest="begin", metavar="T", help="UTC ms or ISO 8601, inclusive")
    parser.add_argument("--to", dest="end", metavar="T", help="exclusive")
    parser.add_argument(
        "--what",
        metavar="KINDS",
        help="some of candles,open_interest,funding (all; freqtrade: candles,funding)",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every file that is there, to find out whether it still is as it was written",
    )


def _backfill(parser: argparse.ArgumentParser) -> None:
    add_selection(
        parser.add_argument,
        exchanges="one or more; repeatable; all that are collected if not given",
        symbols="all markets that are collected",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tell requests, minutes and bytes; ask nothing"
    )
    _one_job(parser)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0.001 <= float(text) <= 86_400:
            return float(text)
    raise argparse.ArgumentTypeError("must be a number of seconds, at most 86400")


def _mcp(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        metavar="URL",
        default=None,
        help="the running service (http:// with HOST and PORT of the settings)",
    )
    parser.add_argument(
        "--http",
        metavar="[HOST:]PORT",
        default=None,
        help="serve clients at http://HOST:PORT/mcp (127.0.0.1) instead of one on standard input"
        " and output; another address than this machine's own needs READ_TOKEN",
    )


def _simulate(parser: argparse.ArgumentParser) -> None:
    from simulator.command_line import add_arguments

    add_arguments(parser)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--markets",
        type=_demo_markets,
        default=DEMO_MARKETS,
        metavar="N",
        help=f"on each exchange, 1 to {MOST_DEMO_MARKETS} ({DEMO_MARKETS})",
    )


def _demo_markets(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= MOST_DEMO_MARKETS):
        raise argparse.ArgumentTypeError(f"must be 1 to {MOST_DEMO_MARKETS}")
    return int(text)


COMMANDS: Final = (
    CommandRow("serve", "the whole service: API and worker, supervised (the default)", _serve),
    CommandRow("api", "the HTTP API alone, for a separate host", _api),
    CommandRow("worker", "the worker alone, for a separate host", _worker),
    CommandRow("beat", "fires the schedules of workers, for a separate host", _supervised),
    CommandRow(
        "live",
        "candles from the exchanges' streams, and the collectors that COLLECTORS names, for a"
        " separate host",
        _supervised,
    ),
    *(
        CommandRow(kind.name, kind.command, _collect if kind.timeframes else _one_job)
        for kind in KINDS
        if kind.command is not None
    ),
    CommandRow(
        "backfill",
        "asks the exchanges for older candles, open interest and funding, for the history",
        _backfill,
    ),
    CommandRow("coins", "the markets: list, enable, disable, import and export as CSV", _coins),
    CommandRow(
        "workers", "the workers: list, run here and now, pause, resume, and their log", _workers
    ),
    CommandRow(
        "providers", "the providers of prices, news and the like: list and probe them", _providers
    ),
    CommandRow("unpause", "asks an exchange again that is paused from this address", _unpause),
    CommandRow("notify-test", "sends a test message to each address of NOTIFY_URLS", _notify_test),
    CommandRow(
        "import",
        "brings Binance's archive files, or exports, into the history",
        add_import_arguments,
    ),
    CommandRow("sql", "the stored history in SQL, read-only: one statement, or psql", _sql),
    CommandRow("export", "the history as files: a Parquet lake, CSV, or for freqtrade", _export),
    CommandRow("mcp", "tools for language models: read-only questions to the service (MCP)", _mcp),
    CommandRow("simulate", "a simulation of the exchanges on a local port", _simulate),
    CommandRow("demo", "shows the service against simulated exchanges, then cleans up", _demo),
)
# These commands end by themselves and print their own lines, so they log only from WARNING up.
JOB_COMMANDS: Final = tuple(kind.name for kind in KINDS if kind.command is not None)
ONE_SHOT: Final = (
    *JOB_COMMANDS,
    "backfill",
    "coins",
    "workers",
    "providers",
    "unpause",
    "notify-test",
    "import",
    "sql",
    "export",
    "mcp",
)
