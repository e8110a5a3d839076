"""Reads the document `overview` as text: assets by their brackets, only names and heads parsed.

It relies on the form that overview.py writes: each asset begins with `{"asset":"` and a name,
which occurs nowhere else in such text, as a quote inside a string is escaped.
"""

import re
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Any, Final

import orjson

from documents.text import DocumentError, DocumentFilter, DocumentText, FilteredSize, MarketSpan
from market.assets.names import asset_of

_ASSETS: Final = b',"assets":['
_ASSET: Final = re.compile(rb'\{"asset":("(?:[^"\\]|\\.)*")')
_SYMBOL: Final = re.compile(rb'"symbol":("(?:[^"\\]|\\.)*")')
_END: Final = b"]}"
_LONGEST_NAME: Final = 64  # names are asked for by anybody


class OverviewText(DocumentText):
    """The JSON with the offsets of its assets, found at construction; immutable.

    As a document's text it has `markets`: here the assets, each with its name for a symbol. A
    filter's symbols are names of assets in upper case, bases, or symbols of markets.
    Raises DocumentError.
    """

    def __init__(self, text: bytes) -> None:
        self.text = text
        begin = text.find(_ASSETS)
        if begin < 0 or not text.endswith(_END):
            raise DocumentError("the overview has no list of assets, or no end")
        self.header = _object(text[:begin] + b"}")
        self._first = begin + len(_ASSETS)
        self._view = memoryview(text)
        found = [(match.start(), match[1]) for match in _ASSET.finditer(text, self._first)]
        ends = [start - 1 for start, _ in found[1:]] + [len(text) - len(_END)] * bool(found)
        self.markets = [
            MarketSpan("", str(orjson.loads(name)), start, end, end, end)
            for (start, name), end in zip(found, ends, strict=True)
        ]
        self._spans = {span.symbol: span for span in self.markets}

    def find(self, name: str) -> MarketSpan | None:
        """The asset of a name in any case: its own, a contract's base, or a market's symbol."""
        if len(name) > _LONGEST_NAME:
            return None
        upper = name.upper()
        named = self._spans.get(upper) or self._spans.get(asset_of(upper).name)
        return named or self._by_symbol.get(upper)

    @cached_property
    def _by_symbol(self) -> dict[str, MarketSpan]:
        found: dict[str, MarketSpan] = {}
        for span in self.markets:
            for match in _SYMBOL.finditer(self.text, span.start, span.end):
                found.setdefault(str(orjson.loads(match[1])).upper(), span)
        return found

    def asset(self, span: MarketSpan) -> bytes:
        """One asset's JSON, with version, times and quote of the overview."""
        head = {key: value for key, value in self.header.items() if key != "name"}
        return orjson.dumps(head)[:-1] + b"," + self.text[span.start + 1 : span.end]

    def assets(self) -> list[dict[str, Any]]:
        """All assets, parsed."""
        found: list[dict[str, Any]] = orjson.loads(self.text)["assets"]
        return found

    def missing(self) -> list[Any]:
        return []

    def absent(self, names: Collection[str] | None) -> frozenset[str]:
        """The names that no asset, base or market has."""
        return frozenset(name for name in names or () if self.find(name) is None)

    def filtered(self, where: DocumentFilter) -> list[bytes | memoryview]:
        """The JSON with only the wanted assets, in their order."""
        if where.symbols is None:
            return [self.text]
        wanted = self._wanted(where.symbols)
        parts = [self._view[span.start : span.end] for span in wanted]
        return [b"".join((self._view[: self._first], b",".join(parts), _END))]

    def filtered_size(self, where: DocumentFilter) -> FilteredSize:
        if where.symbols is None:
            return FilteredSize(0, True)
        wanted = self._wanted(where.symbols)
        copied = sum(span.end - span.start + 1 for span in wanted)
        return FilteredSize(self._first + copied + len(_END), False)

    def _wanted(self, names: Iterable[str]) -> list[MarketSpan]:
        return sorted({span for name in names if (span := self.find(name))}, key=lambda s: s.start)


def _object(text: bytes) -> dict[str, Any]:
    try:
        value: dict[str, Any] = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DocumentError(f"not JSON: {error}") from None
    return value
