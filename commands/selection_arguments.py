"""Arguments that say of which markets, kinds and times a command works: --exchange to --to."""

import argparse
from collections.abc import Callable
from typing import Any, Final

from market.markets import Exchange
from market.timeframes import Timeframe

KINDS_OF_ROWS: Final = ("candles", "open_interest", "funding")
_SEVERAL: Final = "one or more; repeatable"


def add_selection(add: Callable[..., Any], *, exchanges: str, symbols: str) -> None:
    """Adds them by `add`, the `add_argument` of a parser or of a group. `exchanges`: the help of
    --exchange; `symbols`: what is meant where no symbol is given."""
    for name, letter, choices, told in (
        ("exchange", "E", [*map(str, Exchange)], exchanges),
        ("symbol", "S", None, f"{_SEVERAL}, such as BTCUSDT; {symbols} if not given"),
        ("timeframe", "T", [*map(str, Timeframe)], f"{_SEVERAL}; those of TIMEFRAMES if not given"),
    ):
        add(
            f"--{name}",
            action="extend",
            nargs="+",
            choices=choices,
            default=[],
            metavar=letter,
            help=told,
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
