"""Reads answers as tables: an Arrow stream, or the JSON of services that have no other form."""

import json
import time
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Final

from arro3.core import Array, DataType, Field, Schema
from arro3.core import Table as ArrowTable
from arro3.io import read_ipc_stream

from perpcache_client.asking import Reply, unknown_symbols
from perpcache_client.errors import BadAnswer
from perpcache_client.records import market_from, missing_from
from perpcache_client.table import Table

# The last message of a stream (Arrow columnar format, IPC streaming).
_END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_TEXT: Final = DataType.dictionary(DataType.int32(), DataType.string())
_TIME: Final = DataType.timestamp("ms", tz="UTC")
_NUMBER: Final = DataType.float64()


def read_arrow(reply: Reply, name: str | None) -> Table:
    """Raises BadAnswer for what is no whole stream."""
    if not reply.body.endswith(_END):
        raise BadAnswer("the answer is no whole Arrow stream", status=reply.status)
    try:
        arrow = read_ipc_stream(BytesIO(reply.body)).read_all()
        told = arrow.schema.metadata_str
        missing = json.loads(told.get("missing", "[]"))
        # Those of history are names alone.
        heads: Any = json.loads("[]" if name is None else told.get("markets", "[]"))
        markets = [market_from(entry) for entry in heads]
        return Table(
            arrow,
            name=name,
            version=_whole(told.get("version")),
            as_of=_whole(told.get("as_of")),
            markets=markets,
            missing=[missing_from(entry) for entry in missing],
            unknown=unknown_symbols(reply),
            age_s=_age_s(reply, _whole(told.get("updated_at"))),
            next_cursor=reply.headers.get("x-next-cursor"),
        )
    except Exception as error:  # arro3 has no errors of its own
        raise BadAnswer(f"the Arrow stream cannot be read: {error}", status=reply.status) from error


def read_json(reply: Reply, name: str) -> Table:
    """The table of a document. Raises BadAnswer for what is none."""
    document = reply.json()
    try:
        return Table(
            _columns(document),
            name=name,
            version=document["version"],
            as_of=document["as_of"],
            markets=[market_from(entry) for entry in document["markets"]],
            missing=[missing_from(entry) for entry in document["missing"]],
            unknown=unknown_symbols(reply),
            age_s=_age_s(reply, document["updated_at"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadAnswer(f"the answer is no document: {error!r}", status=reply.status) from error


def _columns(document: Mapping[str, Any]) -> ArrowTable:
    names: Sequence[str] = document["columns"]
    last_closed: int | None = document["last_closed_open_time"]
    exchanges: list[str] = []
    symbols: list[str] = []
    rows: list[list[Any]] = []
    for market in document["markets"]:
        own = market["rows"]
        exchanges += [market["exchange"]] * len(own)
        symbols += [market["symbol"]] * len(own)
        rows += own
    values: list[list[Any]] = (
        [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in names]
    )
    times, *numbers = values
    fields = [Field("exchange", _TEXT, nullable=False), Field("symbol", _TEXT, nullable=False)]
    arrays = [Array(exchanges, type=DataType.string()).cast(_TEXT)]
    arrays.append(Array(symbols, type=DataType.string()).cast(_TEXT))
    fields.append(Field(names[0], _TIME, nullable=False))
    arrays.append(Array(times, type=DataType.int64()).cast(_TIME))
    for column, place in zip(numbers, names[1:], strict=True):
        fields.append(Field(place, _NUMBER))
        arrays.append(Array(column, type=_NUMBER))
    if last_closed is not None:
        fields.append(Field("closed", DataType.bool(), nullable=False))
        arrays.append(Array([time_ms <= last_closed for time_ms in times], type=DataType.bool()))
    table: ArrowTable = ArrowTable.from_arrays(  # pyright: ignore[reportUnknownMemberType]
        arrays, schema=Schema(fields)
    )
    return table


def _whole(text: str | None) -> int | None:
    return None if text is None or text == "null" else int(text)


def _age_s(reply: Reply, updated_at_ms: int | None) -> float | None:
    """By the service's clock, as it tells in Age; else by this machine's."""
    told = reply.headers.get("age", "")
    if told.isascii() and told.isdigit():
        return float(told)
    return None if updated_at_ms is None else max(0.0, time.time() - updated_at_ms / 1000)
