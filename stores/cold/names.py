"""Names and texts of others: which the database can hold, and how it and people are told of them.

A database's encoding need not be UTF-8; the server is asked what it can hold of the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import asyncpg

from market.markets import Market
from stores.cold.pool import Connection
from texts.foreign import cut
from texts.printable import printable

# Names are part of an index entry, which PostgreSQL limits to 2.7 KB.
_LONGEST_NAME: Final = 100
_UTF8: Final = "UTF8"
_NOT_HELD: Final = (asyncpg.UntranslatableCharacterError, asyncpg.CharacterNotInRepertoireError)


async def encoding_of(connection: Connection) -> str:
    """The encoding in which the database holds texts, by PostgreSQL's name."""
    encoding: str = await connection.fetchval("SELECT current_setting('server_encoding')")
    return encoding


async def refusals(
    connection: Connection, markets: Iterable[Market], encoding: str
) -> Mapping[str, str]:
    """Why the database cannot hold a market's names, by symbol, of the markets it cannot hold."""
    found: dict[str, str] = {}
    foreign: dict[str, list[str]] = {}
    for market in markets:
        names = (market.symbol, market.base, market.quote)
        if (why := _refusal(names)) is not None:
            found[market.symbol] = why
        elif encoding != _UTF8 and not all(map(str.isascii, names)):
            foreign[market.symbol] = [name for name in names if not name.isascii()]
    asked = sorted({name for names in foreign.values() for name in names})
    not_held = await _not_held(connection, asked) if asked else set()
    why = f"a name with characters that the database cannot hold in its encoding {encoding}"
    return found | {symbol: why for symbol, names in foreign.items() if not_held & {*names}}


async def unstorable(connection: Connection, names: Iterable[str]) -> set[str]:
    """Those of the names that the database cannot hold."""
    found, foreign = set(), []
    for name in names:
        if _refusal([name]) is not None:
            found.add(name)
        elif not name.isascii():
            foreign.append(name)
    if foreign and await encoding_of(connection) != _UTF8:
        found |= await _not_held(connection, sorted(foreign))
    return found


async def _not_held(connection: Connection, names: Sequence[str]) -> set[str]:
    """Those of the names that cannot be converted to the database's encoding."""
    try:
        async with connection.transaction():  # an error ends none that was begun before
            await connection.execute(_CONVERT, [name.encode() for name in names])
    except _NOT_HELD:
        if len(names) == 1:
            return {*names}
        half = len(names) // 2
        return await _not_held(connection, names[:half]) | await _not_held(connection, names[half:])
    return set()


def _refusal(names: Iterable[str]) -> str | None:
    for name in names:
        if len(name) > _LONGEST_NAME:
            return f"a name of {len(name)} characters, at most {_LONGEST_NAME} can be stored"
        if storable(name, _UTF8) != name:
            return "a name with characters that cannot be stored"
    return None


def storable(text: str, encoding: str) -> str:
    """The text with escapes for what PostgreSQL and JSON cannot hold (U+0000 and lone surrogates),
    and for all but ASCII if the encoding is not UTF-8."""
    codec = "utf-8" if encoding == _UTF8 else "ascii"
    return text.encode(codec, "backslashreplace").decode().replace("\0", "\\x00")


def told(name: str, why: str, encoding: str) -> str:
    """A market that is not stored, and why, as it is told and stored: `<name>: <reason>`."""
    return f"{storable(printable(cut(name, _LONGEST_NAME)), encoding)}: {why}"


_CONVERT: Final = "SELECT convert_from(name, 'UTF8') FROM unnest($1::bytea[]) AS name"
