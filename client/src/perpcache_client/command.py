"""`perpcache-client`: reads, watches and collects from a shell; its arguments and exit codes.

0 done · 1 optional package missing or file not writable · 2 wrong request · 3 no such thing, or not
yet · 4 token missing or wrong · 5 no usable answer in time · 6 the collection failed · 130 ended by
Ctrl-C · 141 the reader of the output is gone
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from perpcache_client.asset_output import FORMATS as ASSET_FORMATS
from perpcache_client.asset_output import write_asset
from perpcache_client.errors import (
    InvalidRequest,
    JobFailed,
    MissingPackage,
    NotFound,
    PerpcacheError,
    Unauthorized,
)
from perpcache_client.output import FORMATS, write
from perpcache_client.sync_client import Client

DEFAULT_URL: Final = "http://127.0.0.1:8000"
_EXIT: Final[tuple[tuple[type[PerpcacheError], int], ...]] = (
    (MissingPackage, 1),
    (InvalidRequest, 2),
    (NotFound, 3),
    (Unauthorized, 4),
    (JobFailed, 6),
)
_NO_ANSWER: Final = 5
_DOCUMENT: Final = "the document: 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d, or global_fr for funding"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns its exit code."""
    given = _parser().parse_args(arguments)
    try:
        client = Client(given.url, os.environ.get("PERPCACHE_TOKEN") or None, given.timeout)
    except ValueError as error:
        return _failed(str(error), 2)
    try:
        with client:
            given.run(client, given)
            sys.stdout.flush()
        return 0
    except PerpcacheError as error:
        return _failed(str(error), _code_of(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # What is left in the buffer has no reader; without this, Python tells so at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return _failed(str(error), 1)


def _code_of(error: PerpcacheError) -> int:
    return next((code for kind, code in _EXIT if isinstance(error, kind)), _NO_ANSWER)


def _failed(message: str, code: int) -> int:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"perpcache-client: {message}\n")
    return code


def _get(client: Client, given: argparse.Namespace) -> None:
    table = client.table(given.document, **_filters(given), as_of=given.as_of)
    write(table, given.format, given.output)


def _watch(client: Client, given: argparse.Namespace) -> None:
    for table in client.watch(given.document, **_filters(given)):
        if given.output is not None:
            write(table, given.format, given.output)
        if given.output is not None or given.format is None:
            _say(f"{table.name} version {table.version}: {len(table)} rows")
        else:
            write(table, given.format, None)
        sys.stdout.flush()


def _asset(client: Client, given: argparse.Namespace) -> None:
    write_asset(client.market(given.asset, as_of=given.as_of), given.format)


def _collect(client: Client, given: argparse.Namespace) -> None:
    job = client.collect(given.timeframe, wait=given.wait, timeout=given.within)
    if given.wait:
        _say(f"{job.id} is complete: {', '.join(job.produces)}")
    else:
        _say(f"{job.id} is {job.state}")


def _status(client: Client, given: argparse.Namespace) -> None:
    _say(json.dumps(client.status(), indent=2, ensure_ascii=False))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _filters(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "symbol": given.symbol,
        "exchange": given.exchange,
        "closed": given.closed or None,
        "limit": given.limit,
        "since": given.since,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="perpcache-client",
        description="Reads a service of Perpcache: candles, open interest and funding of "
        "perpetual contracts.",
        epilog="The address is that of --url or PERPCACHE_URL; a token, where the service wants "
        "one, that of PERPCACHE_TOKEN. Begin with: perpcache-client get 4h --symbol BTCUSDT "
        "--limit 5. Exit codes: 0 done, 2 wrong request, 3 not there (yet), 4 token, 5 no answer "
        "in time, 6 collection failed.",
    )
    parser.add_argument(
        "--url",
        default=os.environ.get("PERPCACHE_URL") or DEFAULT_URL,
        help=f"the service's address (PERPCACHE_URL, else {DEFAULT_URL})",
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds for each answer (60)"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    get = commands.add_parser("get", help="prints a document once, or writes it to a file")
    _add_document(get)
    get.add_argument("--as-of", metavar="TIME", help="as it was then: ISO 8601 or UTC ms")
    get.set_defaults(run=_get)
    watch = commands.add_parser("watch", help="the same at each new version, until Ctrl-C")
    _add_document(watch)
    watch.set_defaults(run=_watch)
    asset = commands.add_parser(
        "asset", help="prints an asset over exchanges: all together, then each of its markets"
    )
    asset.add_argument("asset", help="its name, a base or a symbol: PEPE, 1000PEPE, pepeusdt")
    asset.add_argument("--as-of", metavar="TIME", help="as it was known then: ISO 8601 or UTC ms")
    asset.add_argument(
        "--format",
        choices=ASSET_FORMATS,
        help="table on a terminal's screen and csv elsewhere, by default; json has all of it",
    )
    asset.set_defaults(run=_asset)
    collect = commands.add_parser(
        "collect", help="asks for a collection, and waits until it is done"
    )
    collect.add_argument("timeframe", nargs="?", default="all", help="such as 4h; all by default")
    collect.add_argument(
        "--no-wait", dest="wait", action="store_false", help="only ask for it; it runs anyway"
    )
    collect.add_argument(
        "--within", type=float, default=900.0, metavar="S", help="seconds to wait at most (900)"
    )
    collect.set_defaults(run=_collect)
    status = commands.add_parser("status", help="prints what the service knows of itself, as JSON")
    status.set_defaults(run=_status)
    return parser


def _add_document(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("document", help=_DOCUMENT)
    parser.add_argument(
        "--symbol", action="append", metavar="SYMBOL", help="only this market; may be repeated"
    )
    parser.add_argument(
        "--exchange", action="append", metavar="NAME", help="only this exchange; may be repeated"
    )
    parser.add_argument("--closed", action="store_true", help="without candles that still form")
    parser.add_argument("--limit", type=int, metavar="N", help="the newest N rows of each market")
    parser.add_argument("--since", type=int, metavar="MS", help="rows from this time on (UTC ms)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="table on a terminal's screen and csv elsewhere, by default",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write here, all or nothing; the name's ending tells the format unless --format does",
    )
