"""docs/schema.md: its tables are those of the database, and its keys those of a running service."""

import re
from typing import Final

import asyncpg
import redis

from tests.docs.blocks import ROOT

TEXT: Final = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")
_TABLES, _, _KEYS = TEXT.partition("\n## Keys\n")
_STANDS_FOR: Final = {"4h": r"(?:\d+[mhd]|global_fr|base:\w+)", "binance": r"\w+"}
_COLUMNS: Final = """
SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'p')
    AND NOT c.relispartition
GROUP BY c.relname
"""


def told_tables() -> dict[str, list[str]]:
    """The columns of each table and view, as the page tells them."""
    rows = re.findall(r"^\| `(\w+)` \| .+? \| (`.+`) \|$", _TABLES, re.MULTILINE)
    return {name: re.findall(r"`(\w+)`", columns) for name, columns in rows}


async def test_every_table_is_told_with_its_columns(database_url: str) -> None:
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        found = await connection.fetch(_COLUMNS)
    finally:
        await connection.close()
    there = {row["name"]: row["columns"] for row in found}
    assert len(there) > 50
    assert told_tables() == there


def told_keys() -> list[tuple[re.Pattern[str], str, set[bool]]]:
    """A pattern for each key of the page, with its type, and whether it may have an expiry."""
    rows = re.findall(r"^\| (`.+?`) \| (\w+) \| .+ \| (.+?) \|$", _KEYS, re.MULTILINE)
    return [
        (pattern_of(key), kind, {False, True} if "after its" in expires else {expires != "never"})
        for keys, kind, expires in rows
        for key in re.findall(r"`([^`]+)`", keys)
    ]


def pattern_of(key: str) -> re.Pattern[str]:
    parts = (
        ".+" if part.startswith("<") else _STANDS_FOR.get(part, re.escape(part))
        for part in key.split(":")
    )
    return re.compile(":".join(parts))


def keys_not_told(store: "redis.Redis") -> list[str]:
    """The keys of the store that the page does not know, or tells otherwise."""
    left = []
    for key in store.scan_iter(count=1000):
        name = key.decode()
        told = store.type(key)
        kind = told.decode() if isinstance(told, bytes) else told
        expires = store.pttl(key) != -1
        alike = [of for of in told_keys() if of[0].fullmatch(name)]
        if kind != "none" and not any(of[1] == kind and expires in of[2] for of in alike):
            left.append(f"{name}: {kind}, {'expires' if expires else 'never expires'}")
    return left


def test_a_key_that_is_not_told_is_found(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as store:
        store.set("cache:4h", "a document")
        store.set("lock:worker", "a lease", ex=60)
        assert keys_not_told(store) == []
        store.set("cache:4h", "a document", ex=60)
        store.set("surprise", "by nobody")
        assert sorted(keys_not_told(store)) == [
            "cache:4h: string, expires",
            "surprise: string, never expires",
        ]
