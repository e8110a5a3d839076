"""What the OpenAPI page says of /api/historical: parameters, answers, and what each kind tells."""

from typing import Any, Final

from api.documents.query import LARGEST_INTEGER
from api.formats import Format
from api.history.columns import column_names
from api.history.query import MOST_SYMBOLS, parameters_of
from history.selection import Kind
from market.markets import Exchange
from market.timeframes import Timeframe

_KINDS: Final[dict[Kind, str]] = {
    "candles": "Closed candles, each with the open interest at its opening and the funding rate in "
    "force at its end, as the documents have them. `known_at` is since when the candle is known "
    "here.",
    "open_interest": "Open interest, one-sided, in base units: every snapshot that is known, or "
    "with `timeframe` those at the instants of its grid.",
    "funding": "Regular funding settlements, each with the exchange's own time.",
    "prices": "The price at the end of each candle, on every exchange that has the symbol; BTC "
    "stands for BTCUSDT. `source` says where a price comes from.",
}
_RANGE: Final = (
    " `from` is inclusive, `to` is exclusive. Without `limit` the whole range is sent while it is"
    " read; with it, `next` or a header, Link or X-Next-Cursor, lead to the next page."
)
DESCRIPTIONS: Final = {kind: text + _RANGE for kind, text in _KINDS.items()}
_TIME: Final = {
    "type": "string",
    "pattern": r"^([1-9][0-9]{12}|20[0-9]{2}-(0[1-9]|1[0-2])-[0-2][1-8](T0[0-9]:00Z)?)$",
    "examples": ["2025-12-01T00:00:00Z", "1764547200000"],
}
_SOURCES: Final = r"^(candles|providers|[a-z.]{1,40}/[A-Za-z0-9._:-]{1,50})$"
_TEXTS: Final = {
    "symbols": f"BTCUSDT on every exchange, or bybit:BTCUSDT; at most {MOST_SYMBOLS}; repeatable or"
    " comma-separated",
    "exchange": "prices of these exchanges alone; repeatable or comma-separated",
    "source": "candles; or providers, or one of their resources, such as price.aggregate/coingecko:"
    " then all that they have told, with `from`, `to`, `as_of`, `limit` and `cursor`",
    "timeframe": "of the candles; of open interest, the grid",
    "from": "rows at or after this: UTC milliseconds or ISO 8601",
    "to": "rows before this",
    "limit": "at most n rows on a page, the earliest first",
    "as_of": "the rows as they were known at this time",
    "unrecorded": "closed: with as_of, also rows that had closed by then and were stored later, in"
    " their earliest version; `unrecorded_rows` counts them",
    "revisions": "all: every version of every row, with known_from and known_to",
    "columns": "only these columns, and the time; with revisions=all known_from and known_to take"
    " the place of known_at, and open interest and rates are not among those of candles",
    "format": "in place of the header Accept",
    "cursor": "`next` of the page before",
}


def described_parameters(kind: Kind, *, several: bool) -> list[dict[str, Any]]:
    """The query parameters of these rows."""
    return [_parameter(name, kind) for name in parameters_of(kind, several=several)]


def _parameter(name: str, kind: Kind) -> dict[str, Any]:
    names = column_names(kind, revisions=False)
    schemas: dict[str, dict[str, Any]] = {
        "symbols": _list({"minLength": 1, "pattern": r"^[A-Z0-9]{2,30}$"}),
        "exchange": _list({"enum": [*map(str, Exchange)]}),
        "timeframe": {"type": "string", "enum": [*map(str, Timeframe)]},
        "limit": {"type": "integer", "minimum": 1, "maximum": LARGEST_INTEGER},
        "unrecorded": {"type": "string", "enum": ["omit", "closed"]},
        "revisions": {"type": "string", "enum": ["newest", "all"]},
        "columns": _list({"enum": [*names]}),
        "format": {"type": "string", "enum": [*map(str, Format)]},
        "cursor": {"type": "string"},
        "source": {"type": "string", "default": "candles", "pattern": _SOURCES},
    }
    examples: dict[str, Any] = {"symbols": ["BTCUSDT"], "timeframe": "4h", "limit": 5}
    parameter = {
        "name": name,
        "in": "query",
        "description": _TEXTS[name],
        "required": name == "symbols" or (name == "timeframe" and kind == "candles"),
        "schema": schemas.get(name, _TIME),
    }
    if name in ("symbols", "exchange", "columns"):
        parameter |= {"style": "form", "explode": True}
    return parameter | ({"example": examples[name]} if name in examples else {})


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": {"type": "string"} | items}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


_HEADERS: Final = {
    "ETag": _text("the same for the same rows, whatever else is stored since"),
    "Link": _text('the next page, rel="next"; not for an address of more than 2000 characters'),
    "X-Next-Cursor": _text("the cursor of the next page"),
    "X-As-Of": _text("the state that was read, in UTC milliseconds: give it as as_of to read it"),
    "X-Rows": _text("how many rows the answer has"),
    "X-Unrecorded-Rows": _text("how many of them were stored after as_of"),
    "X-Unknown-Symbols": _text("symbols of which nothing is recorded"),
    "Cache-Control": _text("no-cache"),
    "Vary": _text("Accept, Accept-Encoding"),
}
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


def answers_of(kind: Kind) -> dict[int | str, dict[str, Any]]:
    rows = {"$ref": "#/components/schemas/HistoryRows"}
    told = {"anyOf": [rows, {"$ref": "#/components/schemas/PriceRecords"}]}
    return {
        200: {
            "description": "the rows",
            "headers": _HEADERS,
            "content": {
                Format.JSON.media_type: {"schema": told if kind == "prices" else rows},
                Format.NDJSON.media_type: {"schema": {"type": "string"}},
                Format.CSV.media_type: {"schema": {"type": "string"}},
                Format.ARROW.media_type: _BINARY,
                Format.PARQUET.media_type: _BINARY,
            },
        },
        304: {"description": "you have these rows", "headers": _HEADERS},
    }
