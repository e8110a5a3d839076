"""Rows into a table, all in one statement; those that are there already stay as they are."""

from collections.abc import Mapping, Sequence
from typing import Any

from stores.cold.names import storable
from stores.cold.pool import Connection


async def insert_new(
    connection: Connection,
    table: str,
    types: Mapping[str, str],
    rows: Sequence[Sequence[Any]],
    *,
    encoding: str,
) -> int:
    """Inserts rows, each with a value for each column of `types` (name: type of PostgreSQL), apart
    from those whose primary key is there. Returns how many were new. Texts lose what a database of
    `encoding` cannot hold."""
    if not rows:
        return 0
    columns = [
        [storable(value, encoding) if isinstance(value, str) else value for value in column]
        for column in zip(*rows, strict=True)
    ]
    names = ", ".join(types)
    given = ", ".join(
        f"${number}::{_array_of(kind)}" for number, kind in enumerate(types.values(), 1)
    )
    taken = ", ".join(f"{name}::{kind}" for name, kind in types.items())
    found = await connection.fetch(
        f"INSERT INTO {table} ({names}) SELECT {taken} FROM unnest({given}) AS given({names})"  # noqa: S608 - our own constants
        " ON CONFLICT DO NOTHING RETURNING 1",
        *columns,
    )
    return len(found)


def _array_of(kind: str) -> str:
    # There is no way to hand over arrays of JSON but as text.
    return "text[]" if kind == "json" else f"{kind}[]"
