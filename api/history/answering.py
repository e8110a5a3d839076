"""Answers requests for history: what is known of it before its rows, and its headers."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import orjson
from fastapi import HTTPException, Request
from starlette.responses import Response

from api.answers import CSP, NO_CACHE, NOSNIFF, Header
from api.documents.content_coding import Coding, choose_coding
from api.documents.unknown_symbols import unknown_header
from api.documents.validators import entity_tag, etag_matches
from api.formats import Format, accepted_format
from api.history.body import parquet, response, written
from api.history.cursor import Cursor
from api.history.head import Head
from api.history.query import HistoryQuery
from database import DatabaseUnavailable
from history.markets import FoundMarkets
from history.reading import HistoryReader, RecordChanged
from history.selection import END_MS, MarketName, Survey

Asked = Sequence[tuple[str | None, str]]

# A part of every entity tag: another one when the same rows are written in another way.
_FORM: Final = b"1"
_TRIES: Final = 3
_VARY: Final[Header] = (b"vary", b"Accept, Accept-Encoding")
_ETAG_BYTES: Final = 12
_LONGEST_NAME: Final = 80
# Proxies keep 4 KB for a whole head by default; some clients refuse a longer field than 8 KB.
_LONGEST_LINK: Final = 2000


class HistoryAnswers:
    """Answers from one reader of the record. `aclose` when done."""

    def __init__(self, reader: HistoryReader) -> None:
        self._reader = reader
        # Each of its threads waits for the database while a Parquet file is made.
        self._files = ThreadPoolExecutor(2, thread_name_prefix="parquet")

    def aclose(self) -> None:
        self._files.shutdown(wait=False, cancel_futures=True)

    async def answer(
        self, request: Request, query: HistoryQuery, asked: Asked, source: str | None = None
    ) -> Response:
        """The answer for these markets, (exchange or None, symbol) each. Raises HTTPException,
        InvalidQuery and DatabaseUnavailable."""
        format_, coding = _form_of(request, query)
        cursor = query.decoded_cursor(asked)
        found = await self._reader.find_markets(asked)
        if not found.markets:
            raise HTTPException(404, await self._unknown(asked))
        selection = query.selection(found.markets)
        for _ in range(_TRIES):
            survey = await self._reader.survey(
                selection,
                limit=query.limit,
                after=None if cursor is None else cursor.after,
                pin_ms=None if cursor is None else cursor.pin_ms,
            )
            next_ = None
            if survey.last is not None:
                next_ = Cursor(survey.last, survey.pin_ms).encode(query.canonical(asked))
            head = _head(query, survey, next_, source)
            headers = _headers(request, head, found, asked)
            representation = _representation(query, head, survey, format_)
            headers.append((b"etag", entity_tag(representation, coding)))
            known = request.headers.get("if-none-match")
            if known is not None and etag_matches(known.encode("latin-1"), representation):
                unchanged = Response(status_code=304)
                unchanged.raw_headers = headers
                return unchanged
            headers += _headers_of_body(format_, coding, query, found.markets)
            blocks = self._reader.blocks(selection, survey)
            if format_ is Format.PARQUET:
                pieces = parquet(head, blocks, self._files)
            else:
                pieces = written(format_, head, blocks, coding)
            try:
                return await response(headers, pieces)
            except RecordChanged:
                continue  # rows of that very state have come since: look again
        raise DatabaseUnavailable("the database stores what is read, again and again: retry")

    async def _unknown(self, asked: Asked) -> str:
        exchange, symbol = asked[0]
        near = await self._reader.near(symbol)
        hint = f"did you mean {', '.join(near)}?" if near else "GET /coins lists the markets"
        if len(asked) > 1:
            return f"nothing is recorded of these symbols: {hint}"
        where = f" on {exchange}" if exchange else ""
        return f"nothing is recorded of this symbol{where}: {hint}"


def _form_of(request: Request, query: HistoryQuery) -> tuple[Format, Coding]:
    """Raises 406 for a request that accepts nothing that can be sent."""
    format_ = query.format or accepted_format(request.headers.get("accept"))
    if format_ is None:
        types = ", ".join(each.media_type for each in Format)
        raise HTTPException(406, f"Accept must allow one of {types}; or say format=", _vary())
    coding = Coding.IDENTITY
    if format_.is_text:
        accepted = request.headers.getlist("accept-encoding")
        found = choose_coding(", ".join(accepted).encode("latin-1") if accepted else None)
        if found is None:
            detail = "Accept-Encoding must allow deflate, gzip or identity"
            raise HTTPException(406, detail, _vary())
        coding = found
    return format_, coding


def _vary() -> dict[str, str]:
    return {_VARY[0].decode(): _VARY[1].decode()}


def _head(query: HistoryQuery, survey: Survey, next_: str | None, source: str | None) -> Head:
    fields: dict[str, Any] = {
        "kind": query.kind,
        "timeframe": query.timeframe,
        "interval_ms": query.timeframe and query.timeframe.interval_ms,
        "from": query.from_ms,
        "to": None if query.to_ms == END_MS else query.to_ms,
        "as_of": survey.as_of_ms,
        "rows": survey.rows,
        "unrecorded_rows": survey.unrecorded,
        "next": next_,
        "columns": query.layout.names,
    }
    return Head(query.layout, survey.markets, fields, source)


def _headers(request: Request, head: Head, found: FoundMarkets, asked: Asked) -> list[Header]:
    """What formats have no place for, and what a 304 tells, too."""
    fields = head.fields
    headers: list[Header] = [NO_CACHE, _VARY]
    headers += [(b"x-rows", b"%d" % fields["rows"])]
    headers += [(b"x-unrecorded-rows", b"%d" % fields["unrecorded_rows"])]
    if fields["as_of"] is not None:
        headers.append((b"x-as-of", b"%d" % fields["as_of"]))
    if found.unknown and head.source is None:
        headers.append(unknown_header(found.unknown))
    if fields["next"] is not None:
        headers.append((b"x-next-cursor", fields["next"].encode()))
        given = parse_qsl(request.scope["query_string"].decode("utf-8", "replace"))
        others = [(name, value) for name, value in given if name != "cursor"]
        target = urlencode([*others, ("cursor", fields["next"])], safe=",:")
        # Relative to the address that was asked, whatever a proxy has put before it.
        link = f'<?{target}>; rel="next"'.encode()
        if len(link) <= _LONGEST_LINK:
            headers.append((b"link", link))
    return headers


def _representation(query: HistoryQuery, head: Head, survey: Survey, format_: Format) -> bytes:
    """The same for the same bytes, whatever else was stored since."""
    markets = [[*market] for market in head.markets]
    told = orjson.dumps([head.fields, markets, head.source, query.as_of_ms, format_])
    digest = blake2b(_FORM + told + survey.digest, digest_size=_ETAG_BYTES).hexdigest()
    return f"{digest}-{format_}".encode()


def _headers_of_body(
    format_: Format, coding: Coding, query: HistoryQuery, markets: Sequence[MarketName]
) -> list[Header]:
    media = format_.media_type + ("; charset=utf-8" if format_ is Format.CSV else "")
    headers: list[Header] = [(b"content-type", media.encode()), NOSNIFF, CSP]
    if coding is not Coding.IDENTITY:
        headers.append((b"content-encoding", coding.value.encode()))
    if format_ in (Format.CSV, Format.PARQUET, Format.ARROW):
        which = "_".join(markets[0]) if len(markets) == 1 else f"{len(markets)}_markets"
        what = "_".join(filter(None, (which, query.kind, query.timeframe)))
        name = quote(what[:_LONGEST_NAME], safe="") + f".{format_}"
        headers.append((b"content-disposition", f"attachment; filename*=UTF-8''{name}".encode()))
    return headers
