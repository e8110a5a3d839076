"""The arguments of `import`: paths, or what to download of Binance's archive."""

import argparse

from commands.selection_arguments import add_selection
from market.markets import ARCHIVED


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
    add_selection(
        add,
        exchanges=f"{ARCHIVED}: no other exchange has such an archive",
        symbols="delisted ones too; all that are collected",
    )
