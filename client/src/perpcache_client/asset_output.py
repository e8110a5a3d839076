"""An asset over exchanges as text: its figures, then a line for each of its markets."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any, Final

from perpcache_client.overviews import Asset, AssetMarket, Change, MarketOfAsset

FORMATS: Final = ("table", "csv", "json")
ALL: Final = "all"  # in place of an exchange: the figures over all
_SPANS: Final = ("1h", "4h", "24h")
_COLUMNS: Final = (
    *("exchange", "symbol", "summed", "price", "open_interest_coins", "open_interest_quote"),
    *(f"change_{span}" for span in _SPANS),
    *("rate", "interval_hours", "rate_8h", "rate_year", "turnover_24h"),
)
_TEXTS: Final = 3  # the first columns
_SHORT: Final = 6  # digits of a number of the table


def write_asset(told: MarketOfAsset, form: str | None) -> None:
    """To standard output; a table on a screen and CSV elsewhere, unless told otherwise."""
    form = form or ("table" if sys.stdout.isatty() else "csv")
    if form == "json":
        sys.stdout.write(f"{json.dumps(told, indent=2, ensure_ascii=False)}\n")
        return
    rows = [_sums(told), *map(_row, told["markets"])]
    if form == "csv":
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("asset", "at", "quote", *_COLUMNS))
        for row in rows:
            writer.writerow((told["asset"], told["at"], told["quote"], *map(_exact, row)))
        sys.stdout.write(text.getvalue())
        return
    sys.stdout.writelines(f"{line}\n" for line in _lines(rows))
    for each in told["left_out"]:
        sys.stdout.write(f"left out: {each['exchange']} {each['symbol']}: {each['reason']}\n")


def _sums(told: Asset) -> tuple[Any, ...]:
    interest, funding = told["open_interest"], told["funding"]
    return (
        *(ALL, "", True, told["price"]["median"], interest["coins"], interest["quote"]),
        *_changes(told["change"]),
        *(None, None, funding["rate_8h"], funding["rate_year"], told["turnover_24h"]["quote"]),
    )


def _row(market: AssetMarket) -> tuple[Any, ...]:
    interest, funding, turnover = market["open_interest"], market["funding"], market["turnover_24h"]
    return (
        *(market["exchange"], market["symbol"], market["summed"], market["price"]),
        *(interest["coins"], interest["quote"]),
        *_changes(market["change"]),
        funding and funding["rate"],
        funding and funding["interval_hours"],
        funding and funding["rate_8h"],
        funding and funding["rate_year"],
        turnover and turnover["quote"],
    )


def _changes(told: Mapping[str, Change | None]) -> Iterator[float | None]:
    for span in _SPANS:
        change = told.get(span)
        yield change and change["coins_fraction"]


def _lines(rows: Sequence[tuple[Any, ...]]) -> Iterator[str]:
    cells = [[*_COLUMNS], *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        placed = (
            text.ljust(width) if place < _TEXTS else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        yield "  ".join(placed).rstrip()


def _exact(value: Any) -> Any:
    """For CSV: empty where it is not known."""
    return str(value).lower() if isinstance(value, bool) else value


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.{_SHORT}g}" if isinstance(value, float) else str(value)
