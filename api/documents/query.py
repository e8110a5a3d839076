"""Parses and validates the query parameters of GET /cache/<name>; names unknown parameters."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import Request

from api.moments import read_moment
from documents.text import DocumentFilter
from market.markets import Exchange

LONGEST_WAIT_S: Final = 60
# Longer query strings are not cached, so that clients cannot fill the memory.
_LONGEST_CACHED: Final = 256
_MOST_FIELDS: Final = 2000
PARAMETERS: Final = ("exchange", "symbol", "since", "closed", "limit", "wait", "as_of")
OVERVIEW_PARAMETERS: Final = ("asset", "wait", "as_of")
_CACHE_BUSTER: Final = "_"  # jQuery and others add it against caches; it is ignored
# Limits of the work on unknown parameters, which are untrusted input.
_MOST_UNKNOWN: Final = 3
_LONGEST_COMPARED: Final = 32

LARGEST_INTEGER: Final = 10**16 - 1
_INTEGER: Final = re.compile(r"^[0-9]{1,16}$", re.ASCII)
_SECONDS: Final = re.compile(r"^[0-9]{1,2}(\.[0-9]{1,3})?$", re.ASCII)


class InvalidQuery(Exception):
    """The query string is invalid; `errors` is the detail of a 422 in FastAPI's form."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors)
        self.errors = errors


@dataclass(frozen=True, slots=True)
class DocumentQuery:
    """A parsed query string. `tag` is its hash for ETags, empty for a whole document. `as_of_ms`:
    the time of which the document is asked for (UTC ms), None for the newest."""

    filter: DocumentFilter
    wait_s: float
    tag: bytes
    as_of_ms: int | None = None


def read_query(query_string: bytes) -> DocumentQuery:
    """Parses the query string; symbols become upper case. Raises InvalidQuery."""
    if len(query_string) > _LONGEST_CACHED:
        return _read_query(query_string)
    return _read_query_cached(query_string)


def _read_query(query_string: bytes) -> DocumentQuery:
    if not query_string:
        return DocumentQuery(DocumentFilter(), 0.0, b"")
    reader = QueryReader(query_string, PARAMETERS)
    where = DocumentFilter(
        exchanges=reader.exchanges(),
        symbols=reader.symbols(),
        since_ms=reader.integer("since", least=0),
        closed=reader.boolean("closed"),
        limit=reader.integer("limit", least=1),
    )
    wait_s, as_of_ms = _times(reader, "exchange, symbol, since, closed and limit may")
    if reader.errors:
        raise InvalidQuery(reader.errors)
    tag = b"" if where.is_whole else _tag(where)
    return DocumentQuery(where, wait_s, tag, as_of_ms)


_read_query_cached = lru_cache(1024)(_read_query)


def read_overview_query(query_string: bytes) -> DocumentQuery:
    """The same for the overview, which has no rows: the assets are its filter's symbols, in upper
    case. Raises InvalidQuery."""
    reader = QueryReader(query_string, OVERVIEW_PARAMETERS)
    names = reader.names("asset")
    if names is not None and not names:
        reader.refuse("asset", "empty", "must be one or more assets, such as BTC")
    assets = names and frozenset(name.upper() for name in names)
    wait_s, as_of_ms = _times(reader, "asset may")
    if reader.errors:
        raise InvalidQuery(reader.errors)
    where = DocumentFilter(symbols=assets)
    tag = b"" if where.is_whole else _tag(where)
    return DocumentQuery(where, wait_s, tag, as_of_ms)


def _times(reader: "QueryReader", allowed: str) -> tuple[float, int | None]:
    """`wait` (s) and `as_of` (UTC ms), which exclude each other; `allowed`: what may be given with
    `as_of`."""
    wait_s, as_of_ms = reader.wait_s(), reader.moment("as_of")
    if as_of_ms is not None and wait_s:
        message = "must not be given with as_of, of which there is nothing newer to wait for"
        reader.refuse("wait", "combination", f"{message}: {allowed}")
    return wait_s, as_of_ms


def _tag(where: DocumentFilter) -> bytes:
    return hashlib.blake2b(where.canonical(), digest_size=8).hexdigest().encode()


def unknown_parameters(given: Iterable[str], known: Sequence[str]) -> list[dict[str, Any]]:
    """The errors of parameters that are not `known`, each with the nearest known one.

    The unknown name is input and not repeated.
    """
    unknown = [name for name in given if name not in known and name != _CACHE_BUSTER]
    messages: dict[str, None] = {}
    for name in unknown[:_MOST_UNKNOWN]:
        near = get_close_matches(name[:_LONGEST_COMPARED].lower(), known, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        messages[f"unknown parameter: {meant}{_allowed(known)}"] = None
    return [{"type": "unknown", "loc": ["query"], "msg": text} for text in messages]


def _allowed(known: Sequence[str]) -> str:
    if not known:
        return "There are no parameters here"
    are = "The parameters are" if len(known) > 1 else "The only parameter is"
    return f"{are} {', '.join(known)}"


def only_parameters(*known: str) -> Callable[[Request], None]:
    """A dependency for routes of the framework: raises InvalidQuery for other parameters, and for
    one that is given twice."""

    def check(request: Request) -> None:
        given = [name for name, _ in request.query_params.multi_items()]
        errors = unknown_parameters(dict.fromkeys(given), known)
        repeated = [name for name in known if given.count(name) > 1]
        errors += [invalid("repeated", name, "must be given once") for name in repeated]
        if errors:
            raise InvalidQuery(errors)

    return check


class QueryReader:
    """Reads typed values from a query string and collects the errors, first of all those of
    parameters that are not `known`. Raises InvalidQuery for too many."""

    def __init__(self, query_string: bytes, known: Sequence[str]) -> None:
        self._given: dict[str, list[str]] = {}
        try:
            fields = parse_qsl(
                query_string.decode("utf-8", "replace"),
                keep_blank_values=True,
                errors="replace",
                max_num_fields=_MOST_FIELDS,
            )
        except ValueError:
            message = f"more than {_MOST_FIELDS} parameters"
            raise InvalidQuery([invalid("too_many", "query", message)]) from None
        for name, value in fields:
            self._given.setdefault(name, []).append(value)
        self.errors: list[dict[str, Any]] = unknown_parameters(self._given, known)

    def has(self, name: str) -> bool:
        return name in self._given

    def names(self, name: str) -> frozenset[str] | None:
        """The values of a repeated or comma-separated parameter; None if it is absent."""
        values = self._given.get(name)
        if values is None:
            return None
        parts = (part.strip() for value in values for part in value.split(","))
        return frozenset(part for part in parts if part)

    def exchanges(self) -> frozenset[str] | None:
        return self.chosen("exchange", list(Exchange))

    def chosen(self, name: str, among: Sequence[str]) -> frozenset[str] | None:
        """The values of a parameter that takes some of a list; None if it is absent."""
        names = self.names(name)
        if names is not None and (not names or not names <= set(among)):
            self.refuse(name, "enum", "must be one or more of " + ", ".join(among))
        return names

    def symbols(self) -> frozenset[str] | None:
        names = self.names("symbol")
        if names is not None and not names:
            self.refuse("symbol", "empty", "must be one or more symbols, such as BTCUSDT")
        return names and frozenset(name.upper() for name in names)

    def integer(self, name: str, *, least: int) -> int | None:
        value = self.single(name)
        if value is None:
            return None
        if not _INTEGER.match(value) or int(value) < least:
            message = f"must be an integer of at least {least} and at most {LARGEST_INTEGER}"
            self.refuse(name, "integer", message)
            return None
        return int(value)

    def boolean(self, name: str) -> bool:
        value = self.single(name)
        if value not in (None, "true", "false"):
            self.refuse(name, "boolean", "must be true or false")
        return value == "true"

    def wait_s(self) -> float:
        value = self.single("wait")
        if value is None:
            return 0.0
        if not _SECONDS.match(value) or float(value) > LONGEST_WAIT_S:
            self.refuse(
                "wait", "seconds", f"must be a number of seconds from 0 to {LONGEST_WAIT_S}"
            )
            return 0.0
        return float(value)

    def moment(self, name: str) -> int | None:
        """A time in UTC ms, or in ISO 8601; None if it is absent."""
        text = self.single(name)
        if text is None:
            return None
        try:
            return read_moment(text)
        except ValueError as error:
            self.refuse(name, "time", str(error))
            return None

    def single(self, name: str) -> str | None:
        values = self._given.get(name)
        if values is None:
            return None
        if len(values) > 1:
            self.refuse(name, "repeated", "must be given once")
        return values[0]

    def refuse(self, name: str, kind: str, message: str) -> None:
        self.errors.append(invalid(kind, name, message))


def invalid(kind: str, name: str, message: str) -> dict[str, Any]:
    """An error of InvalidQuery: what is wrong with the parameter `name`."""
    return {"type": kind, "loc": ["query", name], "msg": message}
