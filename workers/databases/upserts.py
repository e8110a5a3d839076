"""Upserts: the statements of each database that insert rows or update those that are there."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Rows = list[dict[str, Any]]


def distinct_rows(
    model: type[Any], rows: Iterable[Any], key: Sequence[str]
) -> Mapping[tuple[str, ...], Rows]:
    """The rows as mappings of columns, by the columns that they name; several with one key are one,
    as if written one after another: a statement may not write a row twice. Raises ValueError."""
    columns = _columns_of(model)
    table: Any = model.__table__
    for name in key:
        if name not in table.c:
            raise ValueError(f"{model.__name__} has no column {name[:80]!r} for a key")
    last: dict[Any, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        values = _values_of(model, row, columns)
        named = all(values.get(name) is not None for name in key)
        place = tuple(values[name] for name in key) if named else (number, None)
        last[place] = {**last.pop(place, {}), **values}
    found: dict[tuple[str, ...], Rows] = {}
    for values in last.values():
        found.setdefault(tuple(values), []).append(values)
    return found


def upsert_statement(dialect: str, table: Any, rows: Rows, key: Sequence[str]) -> Any:
    """One statement for rows that name the same columns. Raises ValueError for other databases."""
    fixed = {*key, *(column.key for column in table.primary_key)}
    changed = [name for name in rows[0] if name not in fixed]
    if dialect in ("mysql", "mariadb"):
        from sqlalchemy.dialects.mysql import insert as insert_mysql

        written = insert_mysql(table).values(rows)
        # Without any, a row that is there stays: setting a key to itself changes nothing.
        names = changed or list(key)[:1]
        return written.on_duplicate_key_update({n: written.inserted[n] for n in names})
    inserted: Any
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_postgresql

        inserted = insert_postgresql(table).values(rows)
    elif dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as insert_sqlite

        inserted = insert_sqlite(table).values(rows)
    else:
        raise ValueError(f"upsert() knows PostgreSQL, MySQL and SQLite, not {dialect}")
    target = [table.c[name] for name in key]
    if not changed:
        return inserted.on_conflict_do_nothing(index_elements=target)
    return inserted.on_conflict_do_update(
        index_elements=target, set_={name: inserted.excluded[name] for name in changed}
    )


def _columns_of(model: type[Any]) -> Mapping[str, str]:
    """The key of each column, by it and by the name of its attribute."""
    from sqlalchemy import inspect

    mapper: Any = inspect(model)
    table: Any = model.__table__
    names = {column.key: column.key for column in table.c}
    return {**names, **{one.key: one.columns[0].key for one in mapper.column_attrs}}


def _values_of(model: type[Any], row: Any, columns: Mapping[str, str]) -> dict[str, Any]:
    if isinstance(row, model):
        given = {name: value for name, value in vars(row).items() if name in columns}
    elif isinstance(row, Mapping):
        given = {str(name): value for name, value in row.items()}
    else:
        raise ValueError(f"a row must be a mapping or a {model.__name__}, not {type(row).__name__}")
    unknown = [name[:80] for name in given if name not in columns]
    if unknown or not given:
        told = f"has no column {unknown[0]!r}" if unknown else "got a row without columns"
        raise ValueError(
            f"{model.__name__} {told}: it has {', '.join(sorted({*columns.values()}))}"
        )
    return {columns[name]: value for name, value in given.items()}
