"""AssetReader: an overview, the newest or one of the record, as a list in short, or one asset."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson

from api.answers import Answer
from api.documents.document_cache import CachedDocument, DocumentCache
from api.documents.overviews_as_of import OverviewsAsOf, RecordedOverview
from api.documents.unknown_symbols import similar_symbols, unknown_assets
from documents.names import OVERVIEW
from documents.overview_text import OverviewText


class AssetReader:
    """Reads assets of the document that `cache` serves, or of the record.

    `nothing_yet` answers while none is published. Every method raises StoreUnavailable; `at` raises
    DatabaseUnavailable, too.
    """

    def __init__(
        self,
        cache: DocumentCache,
        overviews: OverviewsAsOf,
        nothing_yet: Callable[[str], Awaitable[Answer]],
    ) -> None:
        self._cache = cache
        self._overviews = overviews
        self._nothing_yet = nothing_yet

    async def newest(self) -> CachedDocument | Answer:
        """The document, or the 404 while there is none."""
        document = await self._cache.current(OVERVIEW)
        return await self._nothing_yet(OVERVIEW) if document is None else document

    async def at(self, as_of_ms: int, name: str | None = None) -> RecordedOverview | Answer:
        """The overview as of a time with all assets, or the one of this name; or why there is
        none."""
        return await self._overviews.read(as_of_ms, None if name is None else (name.upper(),))

    async def one(self, document: CachedDocument | RecordedOverview, name: str) -> bytes | Answer:
        """The JSON of one asset by any of its names, or a 404 with similar ones."""
        text = await self._text(document)
        span = text.find(name)
        if span is not None:
            return text.asset(span)
        if isinstance(document, RecordedOverview):
            known: Sequence[str] = document.assets
        else:
            known = [each.symbol for each in text.markets]
        return unknown_assets(
            [name], await asyncio.to_thread(similar_symbols, [name.upper()], known)
        )

    async def _text(self, document: CachedDocument | RecordedOverview) -> OverviewText:
        if isinstance(document, RecordedOverview):
            return document.text
        return await self._cache.overview(document)

    async def listed(self, document: CachedDocument | RecordedOverview, limit: int | None) -> bytes:
        """The JSON of the list in short."""
        text = await self._text(document)

        async def make() -> tuple[list[dict[str, Any]], int]:
            found = await self._cache.derived.run(_in_short, text)
            return found, len(text.text)

        if isinstance(document, RecordedOverview):
            assets = await asyncio.to_thread(_in_short, text)
        else:
            key = (OVERVIEW, document.etag_base, b"", "in short")
            assets = await self._cache.derived.get(key, make)
        head = {name: value for name, value in text.header.items() if name != "name"}
        return orjson.dumps({**head, "count": len(assets), "assets": assets[:limit]})


def _in_short(text: OverviewText) -> list[dict[str, Any]]:
    """All assets, those with most open interest in quote units first. CPU work, about 20 ms."""
    assets = [_short(asset) for asset in text.assets()]
    return sorted(assets, key=lambda each: (-(each["open_interest"]["quote"] or -1), each["asset"]))


def _short(asset: dict[str, Any]) -> dict[str, Any]:
    interest, price = asset["open_interest"], asset["price"]
    return {
        "asset": asset["asset"],
        "exchanges": price["exchanges"],
        "price": price["median"],
        "spread_bps": price["spread_bps"],
        "open_interest": {"coins": interest["coins"], "quote": interest["quote"]},
        "change": {
            span: change and change["coins_fraction"] for span, change in asset["change"].items()
        },
        "rate_8h": asset["funding"]["rate_8h"],
        "rate_year": asset["funding"]["rate_year"],
        "turnover_24h": asset["turnover_24h"]["quote"],
        "left_out": len(asset["left_out"]),
    }
