"""The overview as of a time: what the record makes of it, as the document and for its assets."""

import asyncio
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

from api.answers import CSP, JSON, NO_CACHE, NOSNIFF, Answer, Body, Header, problem
from api.bytes_in_flight import Holding
from api.documents.content_coding import Coding
from api.documents.query import DocumentQuery
from api.documents.recorded import RecordedVersions
from api.documents.unknown_symbols import judge_absent_assets, similar_symbols
from api.documents.validators import entity_tag, etag_matches
from database import LoggedVersion
from documents.names import OVERVIEW
from documents.overview_text import OverviewText
from history.as_of_overview import AsOfOverviews
from market.timeframes import Timeframe

_VARY: Final[Header] = (b"vary", b"Accept-Encoding")
_EMPTY: Final = Body((), 0)
_LEVEL: Final = 3
_BITS: Final = {Coding.GZIP: 31, Coding.DEFLATE: 15}


@dataclass(frozen=True, slots=True)
class RecordedOverview:
    """An overview of the record, with the assets that were asked for. `assets`: the names of all.
    `etag_base`: what tags of it begin with; what was known then does not change."""

    text: OverviewText
    assets: Sequence[str]
    etag_base: bytes
    last_modified: bytes


class OverviewsAsOf:
    """Both methods raise DatabaseUnavailable and StoreUnavailable."""

    def __init__(self, overviews: AsOfOverviews, versions: RecordedVersions) -> None:
        self._overviews = overviews
        self._versions = versions

    async def read(
        self, as_of_ms: int, names: Collection[str] | None = None
    ) -> RecordedOverview | Answer:
        """The overview as of the newest 5m document at that time, or a 404 or 503 that says why
        there is none. `names`: in upper case, of assets, bases or symbols; None for all."""
        version = await self._version(as_of_ms)
        return version if isinstance(version, Answer) else await self._built(version, names)

    async def document(
        self,
        as_of_ms: int,
        query: DocumentQuery,
        coding: Coding,
        if_none_match: bytes | None,
        holding: Holding,
    ) -> Answer:
        """GET /cache/overview?as_of=. `holding` is released, or part of the answer."""
        try:
            answer = await self._document(as_of_ms, query, coding, if_none_match, holding)
        except BaseException:
            holding.release()
            raise
        if answer.holding is None:
            holding.release()
        return answer

    async def _document(
        self,
        as_of_ms: int,
        query: DocumentQuery,
        coding: Coding,
        if_none_match: bytes | None,
        holding: Holding,
    ) -> Answer:
        version = await self._version(as_of_ms)
        if isinstance(version, Answer):
            return version
        tag = _etag_base(version) + (b"-" + query.tag if query.tag else b"")
        headers: list[Header] = [
            (b"etag", entity_tag(tag, coding)),
            (b"last-modified", _http_date(version)),
            *(NO_CACHE, _VARY),
        ]
        if if_none_match is not None and etag_matches(if_none_match, tag):
            return Answer(304, headers, _EMPTY)
        where = query.filter
        found = await self._built(version, where.symbols)
        if isinstance(found, Answer):
            return found

        async def similar(_: frozenset[str]) -> Sequence[str]:
            return await asyncio.to_thread(similar_symbols, where.symbols or (), found.assets)

        absent = found.text.absent(where.symbols)
        judged: Answer | list[Header] = []
        if absent:
            judged = await judge_absent_assets(absent, where.symbols, frozenset(), similar)
        if isinstance(judged, Answer):
            return judged
        body = await asyncio.to_thread(lambda: b"".join(found.text.filtered(where)))
        holding.exchange({object(): len(body)})
        headers += [JSON, NOSNIFF, CSP, *judged]
        if coding is not Coding.IDENTITY:
            body = await asyncio.to_thread(packed, body, coding)
            headers.append((b"content-encoding", coding.value.encode()))
        headers.append((b"content-length", b"%d" % len(body)))
        return Answer(200, headers, Body((body,), len(body)), holding)

    async def _version(self, as_of_ms: int) -> LoggedVersion | Answer:
        return await self._versions.at(str(Timeframe.M5), as_of_ms, made_of_it=OVERVIEW)

    async def _built(
        self, version: LoggedVersion, names: Collection[str] | None
    ) -> RecordedOverview | Answer:
        found = await self._overviews.build(version, names)
        if found.document is None:
            detail = f"no candle of 5m was known to have closed by {version.as_of_ms}"
            return problem(404, detail, NO_CACHE)
        text = await asyncio.to_thread(OverviewText, found.document)
        return RecordedOverview(text, found.assets, _etag_base(version), _http_date(version))


def packed(body: bytes, coding: Coding) -> bytes:
    """The body in a coding that is not identity. CPU work."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _BITS[coding])
    return packer.compress(body) + packer.flush()


def _etag_base(version: LoggedVersion) -> bytes:
    return b"%d-asof" % version.version


def _http_date(version: LoggedVersion) -> bytes:
    return formatdate(version.updated_at_ms // 1000, usegmt=True).encode()
