"""The table news_articles: each story once, by its canonical URL; edits change it in place.

A story under another URL whose title was stored within 48 hours of it is the one that is there.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from stores.cold.names import encoding_of, storable
from stores.cold.pool import Connection, Pool
from texts.titles import SAME_TITLE_MS, title_key

_ADDING: Final = 0x50657270_6E657773  # whoever adds stories holds it, so that none is added twice


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsRow:
    """A story. `id`: SHA-256 (hex) of its canonical URL. Times are UTC ms; `known_at_ms`: when it
    came first, `changed_at_ms`: when something of it changed last."""

    id: str
    source: str
    url: str
    title: str
    summary: str
    published_at_ms: int | None
    updated_at_ms: int | None
    authors: tuple[str, ...]
    assets: tuple[str, ...]
    language: str
    via: tuple[str, ...]
    known_at_ms: int
    changed_at_ms: int

    @property
    def time_ms(self) -> int:
        """When it was published or, where that is not known, known first."""
        return self.known_at_ms if self.published_at_ms is None else self.published_at_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsFilter:
    """Which stories: None stands for all. `assets`: about any of these. `since_ms`: published (or,
    without such a time, known) then or later."""

    assets: Sequence[str] | None = None
    source: str | None = None
    since_ms: int | None = None


class NewsArticles:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, rows: Sequence[NewsRow]) -> int:
        """Stores new stories, and what has changed of those that are there; how many are new. Of
        one that is there under another URL, it notes by whom it is carried, too."""

        async def write(connection: Connection) -> int:
            encoding = await encoding_of(connection)
            new = 0
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _ADDING)
                titles = await _titles(connection, rows)
                for row in sorted(rows, key=lambda row: (row.time_ms, row.id)):
                    there = titles.find(row)
                    if there is None:
                        new += bool(await connection.fetchval(_ADD, *_values(row, encoding)))
                        titles.note(row.id, row.title, row.time_ms)
                    else:
                        via = json.dumps(list(row.via))
                        await connection.execute(_CARRY, there, via, row.changed_at_ms)
            return new

        return await self._pool.write(write) if rows else 0

    async def listed(
        self,
        which: NewsFilter,
        *,
        before: tuple[int, str] | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> list[NewsRow]:
        """Newest first, at most `limit`, after `offset` of them. `before`: of the last one of the
        page before, published_at_ms (known_at_ms where it has none) and id."""
        before_ms, before_id = before or (None, None)

        async def read(connection: Connection) -> list[NewsRow]:
            rows = await connection.fetch(
                _LISTED,
                *(which.assets and list(which.assets), which.source, which.since_ms),
                *(before_ms, before_id, limit, offset),
            )
            return [_row(row) for row in rows]

        return await self._pool.read(read)


class _Titles:
    """Stories that are there, by title, with their times. `ids`: those of them that are asked for
    by their own URLs."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = set(ids)
        self._by_title: dict[str, list[tuple[int, str]]] = {}

    def note(self, id_: str, title: str, time_ms: int) -> None:
        self._ids.add(id_)
        if key := title_key(title):
            self._by_title.setdefault(key, []).append((time_ms, id_))

    def find(self, row: NewsRow) -> str | None:
        """The id of the story that it is under another URL; None if there is none."""
        if row.id in self._ids:
            return None
        near = (
            (abs(time_ms - row.time_ms), id_)
            for time_ms, id_ in self._by_title.get(title_key(row.title), ())
        )
        distance_ms, id_ = min(near, default=(SAME_TITLE_MS, ""))
        return id_ if distance_ms < SAME_TITLE_MS else None


async def _titles(connection: Connection, rows: Sequence[NewsRow]) -> _Titles:
    ids = await connection.fetch(_THERE, [row.id for row in rows])
    titles = _Titles(each["id"] for each in ids)
    there = {each["id"] for each in ids}
    times = [row.time_ms for row in rows if row.id not in there]
    if times:
        near = (min(times) - SAME_TITLE_MS, max(times) + SAME_TITLE_MS)
        for each in await connection.fetch(_NEAR, *near):
            titles.note(each["id"], each["title"], each["time"])
    return titles


def _values(row: NewsRow, encoding: str) -> tuple[object, ...]:
    texts = (row.source, row.url, row.title, row.summary)
    return (
        row.id,
        *(storable(text, encoding) for text in texts),
        *(row.published_at_ms, row.updated_at_ms),
        *(json.dumps(list(names)) for names in (row.authors, row.assets)),
        row.language,
        json.dumps(list(row.via)),
        *(row.known_at_ms, row.changed_at_ms),
    )


def _row(row: asyncpg.Record) -> NewsRow:
    return NewsRow(
        id=row["id"],
        source=row["source"],
        url=row["url"],
        title=row["title"],
        summary=row["summary"],
        published_at_ms=row["published_at"],
        updated_at_ms=row["updated_at"],
        authors=tuple(json.loads(row["authors"])),
        assets=tuple(json.loads(row["assets"])),
        language=row["language"],
        via=tuple(json.loads(row["via"])),
        known_at_ms=row["known_at"],
        changed_at_ms=row["changed_at"],
    )


# Answers true for a new story, false for one that has changed, and nothing for one that has not.
_ADD: Final = """
    INSERT INTO news_articles AS old (
        id, source, url, title, summary, published_at, updated_at, authors, assets, language, via,
        known_at, changed_at
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8::json, $9::json, $10, $11::json, $12, $13)
    ON CONFLICT (id) DO UPDATE SET
        title = excluded.title, summary = excluded.summary, updated_at = excluded.updated_at,
        published_at = coalesce(old.published_at, excluded.published_at),
        authors = excluded.authors, assets = excluded.assets,
        via = (
            SELECT json_agg(name ORDER BY name) FROM (
                SELECT json_array_elements_text(old.via) AS name
                UNION SELECT json_array_elements_text(excluded.via)
            ) AS names
        ),
        changed_at = excluded.changed_at
    WHERE (old.title, old.summary, old.updated_at, old.assets::text)
            IS DISTINCT FROM
            (excluded.title, excluded.summary, excluded.updated_at, excluded.assets::text)
        OR EXISTS (
            SELECT json_array_elements_text(excluded.via)
            EXCEPT SELECT json_array_elements_text(old.via)
        )
    RETURNING xmax = 0
"""
_THERE: Final = "SELECT id FROM news_articles WHERE id = ANY($1::text[])"
# A story is known 15 minutes before it is published at the earliest: cleaning refuses later times.
_NEAR: Final = """
    SELECT id, title, coalesce(published_at, known_at) AS time FROM news_articles
    WHERE known_at > $1::bigint - 900000
        AND coalesce(published_at, known_at) BETWEEN $1::bigint AND $2::bigint
"""
_CARRY: Final = """
    UPDATE news_articles AS old SET changed_at = $3, via = (
        SELECT json_agg(name ORDER BY name) FROM (
            SELECT json_array_elements_text(old.via) AS name
            UNION SELECT json_array_elements_text($2::json)
        ) AS names
    )
    WHERE id = $1 AND EXISTS (
        SELECT json_array_elements_text($2::json) EXCEPT SELECT json_array_elements_text(old.via)
    )
"""
_LISTED: Final = """
    SELECT * FROM news_articles
    WHERE ($1::text[] IS NULL OR EXISTS (
            SELECT FROM json_array_elements_text(assets) AS asset WHERE asset = ANY($1)
        ))
        AND ($2::text IS NULL OR source = $2)
        AND ($3::bigint IS NULL OR coalesce(published_at, known_at) >= $3)
        AND ($4::bigint IS NULL OR (coalesce(published_at, known_at), id) < ($4, $5::text))
    ORDER BY coalesce(published_at, known_at) DESC, id DESC LIMIT $6 OFFSET $7
"""
