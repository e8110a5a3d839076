"""The OpenAPI schema: adds what FastAPI does not route, and shared errors."""

from collections.abc import Iterable
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api.assets.models import Overview
from api.documents.models import Document
from api.documents.query import LARGEST_INTEGER, LONGEST_WAIT_S
from api.events.endpoint import PATH as EVENTS_PATH
from api.events.models import EVENTS
from api.events.query import KINDS
from api.formats import TABLES, Format
from api.history.backfill_models import AskBackfill
from api.history.models import HistoryRows
from api.models import GetMarketData, InvalidRequest, Problem
from api.moments import AS_OF_SCHEMA
from api.providers.record_models import PriceRecords
from api.workers.models import ChangeWorker
from api.workers.setting_models import LimitQueue, SetValue
from documents.names import DOCUMENTS
from market.markets import Exchange
from market.timeframes import Timeframe

# The page shows them in this order: reading comes first.
TAGS: Final = (
    {"name": "documents", "description": "Documents and markets"},
    {"name": "history", "description": "All that was ever collected, and what was known when"},
    {"name": "jobs", "description": "Jobs that refresh documents"},
    {"name": "workers", "description": "Workers: what runs when, what ran, and its control"},
    {"name": "collectors", "description": "Collectors of live data"},
    {"name": "providers", "description": "Prices, news, sentiment, fees, transfers and balances"},
    {"name": "status", "description": "Health and metrics"},
)
PROBLEMS: Final = {
    400: "the request is malformed, its body ended early, or it names a market as none is named",
    401: "the token is missing or wrong; GETs need READ_TOKEN, or API_TOKEN, if READ_TOKEN is set",
    403: "disabled: the service runs without CRON_SECRET; or a page of another site asks, without "
    "Content-Type: application/json",
    404: "not found, or not collected yet; the detail says what to do",
    405: "the path does not have this method; the header Allow lists those it has",
    406: "Accept-Encoding must allow deflate, gzip or identity; or Accept none of the formats",
    408: "the body did not arrive in time",
    409: "the worker is busy, and if_busy is reject; or the collector is disabled; or too many "
    "backfills are open; or the run's state, or SCHEDULES, does not allow it; or the resource is "
    "dead, or too many are named",
    413: "the body is larger than 64 KB",
    414: "the path and query are longer than 16 KB",
    416: "the range begins behind the end of the file",
    421: "the host that the request names is not served; ALLOWED_HOSTS lists those that are",
    422: "a parameter or the body is wrong; the detail names what is allowed",
    429: "too many long polls, listeners, new questions to providers or unread answers of your "
    "address; the detail says what to do",
    431: "the headers are larger than 32 KB, or more than 100",
    500: "a bug in the service",
    503: "a store does not answer, or there are too many connections or unread answers; try again "
    "later",
    505: "the HTTP version is neither 1.1 nor 1.0",
}
# Every route may answer these.
ANYWHERE: Final = frozenset((400, 401, 405, 413, 414, 421, 429, 431, 500, 503, 505))


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a FastAPI route: these statuses and those of every route."""
    # By name, not as models: FastAPI makes a validator of each route's each model.
    return {
        status: {
            "description": PROBLEMS[status],
            "content": content("InvalidRequest" if status == 422 else "Problem"),
        }
        for status in sorted(ANYWHERE.union(statuses))
    }


def openapi(app: FastAPI) -> dict[str, Any]:
    """The schema of all routes; each error is described once."""
    page = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=list(TAGS),
    )
    _, schemas = models_json_schema(
        [
            (GetMarketData, "validation"),
            (AskBackfill, "validation"),
            (ChangeWorker, "validation"),
            (LimitQueue, "validation"),
            (SetValue, "validation"),
            (Document, "serialization"),
            (Overview, "serialization"),
            (HistoryRows, "serialization"),
            (PriceRecords, "serialization"),
            (InvalidRequest, "serialization"),
            (Problem, "serialization"),
            *((event, "serialization") for event in EVENTS),
        ],
        ref_template="#/components/schemas/{model}",
    )
    components = page.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas["$defs"])
    # FastAPI adds its own form of 422 to routes with parameters; ours are declared.
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    paths = page["paths"] = {
        "/cache/{name}": {"get": _read_document()},
        "/cache/{name}.{format}": {"get": _read_table()},
        "/cache/{name}/{version}.parquet": {"get": _read_file()},
        "/cache/overview": {"get": _read_overview()},
        EVENTS_PATH: {"get": _read_events()},
        **page["paths"],
    }
    for operation in (o for item in paths.values() for o in item.values()):
        if "HTTPValidationError" in str(operation["responses"].get("422")):
            del operation["responses"]["422"]
        _share(operation["responses"])
    for path, name in (
        ("/cache", "head_documents"),
        ("/cache/overview", "head_overview"),
        ("/cache/{name}", "head_document"),
        ("/cache/{name}.{format}", "head_table"),
        ("/cache/{name}/{version}.parquet", "head_file"),
        (EVENTS_PATH, "head_events"),
    ):
        paths[path]["head"] = _head(paths[path]["get"], name)
    components["responses"] = {
        _component(status): {
            "description": description,
            "content": content("InvalidRequest" if status == 422 else "Problem"),
        }
        for status, description in PROBLEMS.items()
    }
    return page


def _share(responses: dict[str, Any]) -> None:
    """Replaces each response with the common description of its status by a reference."""
    for status, description in PROBLEMS.items():
        if responses.get(str(status), {}).get("description") == description:
            responses[str(status)] = {"$ref": f"#/components/responses/{_component(status)}"}


def _component(status: int) -> str:
    return f"Problem{status}"


def _read_document() -> dict[str, Any]:
    return {
        "tags": ["documents"],
        "summary": "One document",
        "operationId": "get_document",
        "description": "One timeframe with all its markets, or the funding of all markets "
        "(`global_fr`). Poll it with `If-None-Match` and the last `ETag`, or with "
        "`If-Modified-Since`: without a newer version the answer is an empty 304. Send "
        "`Accept-Encoding: deflate` to get the bytes as stored; `gzip` and `identity` "
        "work, too. By `Accept` it comes as a table, as from `/cache/{name}.{format}`. "
        "Filters are applied in the order in which they are listed here. A whole "
        "document is tens of megabytes: in a browser, ask for few symbols or rows.",
        "parameters": [
            _parameter("name", "path", "the document", {"enum": list(DOCUMENTS)}, "4h"),
            _list_parameter("exchange", "only these exchanges", {"enum": [*map(str, Exchange)]}),
            _list_parameter(
                "symbol",
                "only these symbols, in upper or lower case; unknown ones are named in "
                "X-Unknown-Symbols, and give 404 if all are unknown",
                {"minLength": 1, "pattern": r"^[^,\s]+$"},
                ["BTCUSDT"],
            ),
            _parameter(
                "since",
                "query",
                "only rows that opened (or settled) at or after this: UTC milliseconds",
                {"type": "integer", "minimum": 0, "maximum": LARGEST_INTEGER},
            ),
            _parameter(
                "closed",
                "query",
                "only closed rows, none that is still forming",
                {"type": "boolean"},
            ),
            _parameter(
                "limit",
                "query",
                "only the last n rows of each market",
                {"type": "integer", "minimum": 1, "maximum": LARGEST_INTEGER},
                5,
            ),
            _wait(),
            _parameter(
                "as_of",
                "query",
                "the document as it was at this time, UTC milliseconds or ISO 8601, from the "
                "record; not with `wait`",
                {"type": "string", **AS_OF_SCHEMA},
            ),
            _parameter("If-None-Match", "header", "the ETag of what you have", {"type": "string"}),
        ],
        "responses": {
            "200": {
                "description": "the document",
                "headers": _HEADERS
                | {
                    "Content-Encoding": _header("none, gzip or deflate"),
                    "X-Unknown-Symbols": _header(
                        "requested symbols that no market has, comma-separated and "
                        "percent-encoded; at most 50, then `...`"
                    ),
                    "X-Forming-Rows": _header(
                        "of `as_of` alone: kept, or forgotten, if forming rows and `checked_at` "
                        "are no longer known"
                    ),
                },
                "content": content("Document") | _content_of(TABLES),
            },
            "304": {"description": "you have the newest version", "headers": _HEADERS},
            **_problems(404, 406, 422),
        },
    }


def _wait() -> dict[str, Any]:
    return _parameter(
        "wait",
        "query",
        "seconds to hold the request until there is a version other than the one in "
        "If-None-Match, or a first one",
        {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT_S, "multipleOf": 0.001},
    )


def _read_overview() -> dict[str, Any]:
    return {
        "tags": ["documents"],
        "summary": "All assets over exchanges",
        "operationId": "get_overview",
        "description": "Of every asset, at one instant: open interest summed over exchanges, its "
        "changes, funding, turnover and prices, and the same of each market (docs/overview.md). "
        "Conditional requests, codings, `wait` and `as_of` are those of `/cache/{name}`; a filter "
        "of rows is refused.",
        "parameters": [
            _list_parameter(
                "asset",
                "only these assets, by name, base or symbol in any case; unknown ones are named in "
                "X-Unknown-Symbols, and give 404 if all are unknown",
                {"minLength": 1, "pattern": r"^[^,\s]+$"},
                ["BTC"],
            ),
            _wait(),
            _parameter(
                "as_of",
                "query",
                "the overview as it was known at this time, UTC milliseconds or ISO 8601, made of "
                "the record; not with `wait`",
                {"type": "string", **AS_OF_SCHEMA},
            ),
            _parameter("If-None-Match", "header", "the ETag of what you have", {"type": "string"}),
        ],
        "responses": {
            "200": {
                "description": "the overview",
                "headers": _HEADERS
                | {
                    "Content-Encoding": _header("none, gzip or deflate"),
                    "X-Unknown-Symbols": _header("requested assets that are unknown"),
                },
                "content": content("Overview"),
            },
            "304": {"description": "you have the newest version", "headers": _HEADERS},
            **_problems(404, 406, 422),
        },
    }


def _read_table() -> dict[str, Any]:
    """The same document and parameters in another form."""
    document = _read_document()
    found = document["responses"]["200"] | {
        "description": "the table",
        "content": _content_of(TABLES),
    }
    name, *others = document["parameters"]
    which = _parameter(
        "format", "path", "the format of the table", {"enum": [*map(str, TABLES)]}, "arrow"
    )
    return document | {
        "summary": "One document as a table",
        "operationId": "get_table",
        "description": "The rows of all markets as one table: `exchange`, `symbol`, the time, the "
        "numbers, null where the document has null, and of candles `closed`. Arrow (an IPC stream) "
        "and Parquet are compressed inside, and say in their metadata what the document says "
        "beside rows; CSV has no place for that. A whole `.parquet` names in Content-Location the "
        "address of its version, from which parts can be read.",
        "parameters": [name, which, *others],
        "responses": document["responses"] | {"200": found},
    }


def _read_file() -> dict[str, Any]:
    names = ("ETag", "Last-Modified")
    headers = {name: _HEADERS[name] for name in names} | {
        "Cache-Control": _header("max-age=31536000, immutable"),
        "Accept-Ranges": _header("bytes"),
    }
    part = headers | {"Content-Range": _header("which part")}
    table = _content_of((Format.PARQUET,))
    return {
        "tags": ["documents"],
        "summary": "One version as a Parquet file, whole or in parts",
        "operationId": "get_file",
        "description": "It never changes, and is read by ranges. There are the newest version and "
        "the one before it, if this process has made that; other versions are 404.",
        "parameters": [
            _parameter("name", "path", "the document", {"enum": list(DOCUMENTS)}, "4h"),
            _parameter(
                "version",
                "path",
                "the version",
                {"type": "integer", "minimum": 0, "maximum": LARGEST_INTEGER},
            ),
            _parameter("Range", "header", "one range of bytes", {"type": "string"}),
            _parameter("If-Range", "header", "the ETag of the other parts", {"type": "string"}),
            _parameter("If-None-Match", "header", "the ETag of what you have", {"type": "string"}),
        ],
        "responses": {
            "200": {"description": "the file", "headers": headers, "content": table},
            "206": {"description": "a part of it", "headers": part, "content": table},
            "304": {"description": "you have it", "headers": headers},
            **_problems(404, 416, 422),
        },
    }


def _content_of(formats: Iterable[Format]) -> dict[str, Any]:
    """The content of a body that JSON Schema does not describe."""
    return {
        each.media_type: {"schema": {"type": "string"} | ({} if each.is_text else _BINARY)}
        for each in formats
    }


def _problems(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {"description": PROBLEMS[status]} for status in sorted({*ANYWHERE, *statuses})
    }


def _read_events() -> dict[str, Any]:
    return {
        "tags": ["documents"],
        "summary": "What happens, as server-sent events",
        "operationId": "get_events",
        "description": "A stream without an end; each event's `data` is one of the schemas below. "
        "A comment comes every 15 s. Send the last `id` as `Last-Event-ID` to go on behind it, at "
        "any process: every event comes once, in order. If that is not possible, the stream begins "
        "with `reset`: read the documents anew. With READ_TOKEN set, a page reads the stream by "
        "fetch, because an EventSource sends no header.",
        "parameters": [
            _list_parameter(
                "event", "only events of these kinds; `reset` always", {"enum": [*KINDS]}
            ),
            _list_parameter(
                "timeframe",
                "documents, candles and stale markets of these timeframes; candles need one",
                {"enum": [*map(str, Timeframe)]},
                ["5m"],
            ),
            _list_parameter(
                "exchange",
                "candles, stale markets and pauses of these exchanges",
                {"enum": [*map(str, Exchange)]},
            ),
            _list_parameter(
                "symbol",
                "candles and stale markets of these symbols",
                {"minLength": 1, "pattern": r"^[^,\s]+$"},
            ),
            _parameter(
                "last_event_id",
                "query",
                "in place of the header Last-Event-ID, for clients that cannot send it",
                {"type": "string"},
            ),
            _parameter(
                "Last-Event-ID", "header", "the id of the last event you got", {"type": "string"}
            ),
        ],
        "responses": {
            "200": {
                "description": "the stream",
                "content": {
                    "text/event-stream": {
                        "schema": {
                            "anyOf": [
                                {"$ref": f"#/components/schemas/{event.__name__}"}
                                for event in EVENTS
                            ]
                        }
                    }
                },
            },
            **{
                str(status): {"description": PROBLEMS[status]}
                for status in sorted(ANYWHERE | {422})
            },
        },
    }


def _head(get: dict[str, Any], name: str) -> dict[str, Any]:
    """The HEAD operation of a GET: the same without a body."""
    responses = {}
    for status, response in get["responses"].items():
        described = {"description": PROBLEMS[int(status)]} if "$ref" in response else response
        responses[status] = {key: value for key, value in described.items() if key != "content"}
    return get | {
        "summary": f"{get['summary']}: the headers alone",
        "operationId": name,
        "responses": responses,
    }


def content(model: str) -> dict[str, Any]:
    """The content of a JSON body of this model."""
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}}}


def _parameter(
    name: str, place: str, description: str, schema: dict[str, Any], example: object = None
) -> dict[str, Any]:
    parameter = {
        "name": name,
        "in": place,
        "description": description,
        "required": place == "path",
        "schema": {"type": "string"} | schema,
    }
    return parameter | ({"example": example} if example else {})


def _list_parameter(
    name: str, description: str, items: dict[str, Any], example: list[str] | None = None
) -> dict[str, Any]:
    schema = {"type": "array", "minItems": 1, "items": {"type": "string"} | items}
    words = f"{description}; repeatable or comma-separated"
    parameter = _parameter(name, "query", words, schema, example)
    return parameter | {"style": "form", "explode": True}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


_BINARY: Final = {"format": "binary"}
_HEADERS: Final = {
    "ETag": _header('"<version>-<content hash>[-<query hash>][-<format>]-<coding>"'),
    "Last-Modified": _header("when this version was made"),
    "Age": _header("seconds since this version was made"),
    "Cache-Control": _header("no-cache"),
    "Vary": _header("Accept, Accept-Encoding, or what of these the answer depends on"),
}
