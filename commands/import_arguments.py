"""The arguments of `import`: paths, or what to download of Binance's archive."""

import argparse
from typing import Final

from market.markets import Exchange
from market.timeframes import Timeframe

KINDS_OF_ROWS: Final = ("candles", "open_interest", "funding")
_SEVERAL: Final = "one or more; repeatable"


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them; commands/import_files.py says which exclude each other."""
    add = parser.add_argument
    add(
        "path",
        nargs="*",
        metavar="PATH",
        help="a file of data.binance.vision (klines, metrics, fundingRate; zip or csv) or of"
        " `export`, or a folder of such files",
    )
    add("--dry-run", action="store_true", help="tell what would change, only")
    add(
        "--require-checksum",
        action="store_true",
        help="refuse archive files without their .CHECKSUM beside them",
    )
    add("--again", action="store_true", help="read files that were imported before once more")
    group = parser.add_argument_group("from Binance's archive itself, in place of PATH")
    add = group.add_argument
    add("--download", action="store_true", help="download from ARCHIVE_URL what these name:")
    add(
        "--exchange",
        action="extend",
        nargs="+",
        choices=list(Exchange),
        default=[],
        metavar="E",
        help="binance: no other exchange has such an archive",
    )
    add(
        "--symbol",
        action="extend",
        nargs="+",
        default=[],
        metavar="S",
        help=f"{_SEVERAL}, such as BTCUSDT, delisted ones too; all that are collected if not given",
    )
    add(
        "--timeframe",
        action="extend",
        nargs="+",
        choices=[*map(str, Timeframe)],
        default=[],
        metavar="T",
        help=f"{_SEVERAL}; those of TIMEFRAMES if not given",
    )
    add(
        "--what",
        type=kinds_of_rows,
        default=(),
        metavar="W",
        help=f"of {', '.join(KINDS_OF_ROWS)}, comma-separated; all if not given",
    )
    for name, usual in (("from", "a year ago"), ("to", "now")):
        add(
            f"--{name}",
            dest=f"{name}_ms",
            type=moment,
            default=None,
            metavar="TIME",
            help=f"UTC milliseconds or ISO 8601, such as 2025-01-01 ({usual})",
        )


def kinds_of_rows(text: str) -> tuple[str, ...]:
    """Some of candles, open_interest and funding, comma-separated."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not {*names} <= {*KINDS_OF_ROWS}:
        raise argparse.ArgumentTypeError(f"must be of {', '.join(KINDS_OF_ROWS)}")
    return names


def moment(text: str) -> int:
    """A time in UTC milliseconds."""
    from api.moments import read_moment

    try:
        return read_moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
