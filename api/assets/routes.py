"""GET /market and GET /market/{asset}: assets over exchanges, in short and one whole."""

import asyncio
import hashlib
from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.exceptions import HTTPException

from api.answers import NO_CACHE, NOSNIFF, Answer, to_response
from api.assets.models import AssetList, MarketOfAsset
from api.documents.content_coding import Coding, choose_coding
from api.documents.document_cache import CachedDocument
from api.documents.overviews_as_of import RecordedOverview, packed
from api.documents.query import LARGEST_INTEGER, InvalidQuery, invalid, only_parameters
from api.documents.validators import entity_tag, etag_matches
from api.moments import AS_OF_SCHEMA, read_moment
from api.openapi import responses
from api.state import ApiState
from timing.clock import now_ms

LIST: Final = "/market"
_UNCHANGED: Final = {"description": "you have the newest version"}
AsOf = Annotated[
    str | None,
    Query(
        description="a time, in UTC ms or ISO 8601: what was known then, of the record",
        json_schema_extra=AS_OF_SCHEMA,
    ),
]
Told = CachedDocument | RecordedOverview


def build_assets() -> APIRouter:
    router = APIRouter(tags=["documents"])

    @router.get(
        LIST,
        response_model=AssetList,
        dependencies=[Depends(only_parameters("limit", "as_of"))],
        responses=responses(404, 406, 422, 503) | {304: _UNCHANGED},
        summary="The assets over exchanges",
        name="list_assets",
    )
    async def list_assets(
        request: Request,
        limit: Annotated[
            int | None, Query(ge=1, le=LARGEST_INTEGER, description="only the first n")
        ] = None,
        as_of: AsOf = None,
    ) -> Response:
        """Every asset in short, as of the newest overview (`GET /cache/overview`): those with most
        open interest in quote units first. Poll it with `If-None-Match` and the last `ETag`. With
        `as_of` as the record knew it then."""
        reader = _state(request)["assets"]
        as_of_ms = _moment(as_of)
        document = await (reader.newest() if as_of_ms is None else reader.at(as_of_ms))
        if isinstance(document, Answer):
            return to_response(document)
        tag = f"list.{limit or ''}".encode()
        if (unchanged := _unchanged(request, document, tag)) is not None:
            return unchanged
        return await _answer(request, document, tag, await reader.listed(document, limit))

    @router.get(
        LIST + "/{asset}",
        response_model=MarketOfAsset,
        dependencies=[Depends(only_parameters("as_of"))],
        responses=responses(404, 406, 422, 503) | {304: _UNCHANGED},
        summary="One asset over exchanges",
        name="get_asset",
    )
    async def get_asset(
        request: Request,
        asset: Annotated[
            str,
            Path(
                description="its name, a contract's base or a symbol, in any case",
                examples=["PEPE"],
            ),
        ],
        as_of: AsOf = None,
    ) -> Response:
        """Open interest, its changes, funding, turnover and prices of one asset, over exchanges and
        of each market, at one instant: `at`. Null where not known, never 0. With `as_of` as the
        record knew it then."""
        reader = _state(request)["assets"]
        as_of_ms = _moment(as_of)
        document = await (reader.newest() if as_of_ms is None else reader.at(as_of_ms, asset))
        if isinstance(document, Answer):
            return to_response(document)
        body = await reader.one(document, asset)
        if isinstance(body, Answer):
            return to_response(body)
        # By the bytes that are sent: two names of one asset are the same.
        tag = hashlib.blake2b(body, digest_size=8).hexdigest().encode()
        return _unchanged(request, document, tag) or await _answer(request, document, tag, body)

    return router


def _moment(text: str | None) -> int | None:
    """Raises InvalidQuery."""
    try:
        return None if text is None else read_moment(text)
    except ValueError as error:
        raise InvalidQuery([invalid("time", "as_of", str(error))]) from None


def _state(request: Request) -> ApiState:
    return cast(ApiState, request.scope["state"])


def _representation(document: Told, tag: bytes) -> bytes:
    return document.etag_base + b"-" + tag


def _unchanged(request: Request, document: Told, tag: bytes) -> Response | None:
    """The 304, if the client has it in any coding."""
    known = request.headers.get("if-none-match")
    representation = _representation(document, tag)
    if known is None or not etag_matches(known.encode("latin-1"), representation):
        return None
    return _with_headers(Response(status_code=304), document, representation, _coding(request))


async def _answer(request: Request, document: Told, tag: bytes, body: bytes) -> Response:
    coding = _coding(request)
    if coding is not Coding.IDENTITY:
        body = await asyncio.to_thread(packed, body, coding)
    answer = Response(body, media_type="application/json")
    if coding is not Coding.IDENTITY:
        answer.headers["content-encoding"] = coding.value
    answer.raw_headers.append(NOSNIFF)
    return _with_headers(answer, document, _representation(document, tag), coding)


def _coding(request: Request) -> Coding:
    """Raises HTTPException: 406 if the client accepts none of ours."""
    asked = request.headers.get("accept-encoding")
    coding = choose_coding(None if asked is None else asked.encode("latin-1"))
    if coding is None:
        raise HTTPException(406, "Accept-Encoding must allow deflate, gzip or identity")
    return coding


def _with_headers(
    answer: Response, document: Told, representation: bytes, coding: Coding
) -> Response:
    answer.raw_headers += [
        (b"etag", entity_tag(representation, coding)),
        (b"last-modified", document.last_modified),
        NO_CACHE,
        (b"vary", b"Accept-Encoding"),
    ]
    if isinstance(document, CachedDocument):  # what is of the record is as old as it was asked for
        age_s = max(0, now_ms() - document.meta.updated_at_ms) // 1000
        answer.raw_headers.append((b"age", b"%d" % age_s))
    return answer
