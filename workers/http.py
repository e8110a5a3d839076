"""job.http(): HTTP requests of workers, as this service or as a browser sends them; deadlines."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlencode, urlsplit

from texts.foreign import foreign_text
from texts.redaction import Redactor

DEADLINE_S: Final = 30.0  # for one request, redirects and body included
LARGEST_BODY: Final = 64 * 1024 * 1024  # bytes, decompressed
MOST_REDIRECTS: Final = 10
_CHARSET: Final = re.compile(r"charset=[\"']?([A-Za-z0-9._-]+)")


class HttpFailed(Exception):
    """A request got no answer, or not in time, or too large a one; the message names the host and
    the cause, without user, password and query."""


class HttpStatus(HttpFailed):
    """An answer's status is an error, and `raise_for_status` was called. `status`: which."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it is sent; checked. `clean` hides the secrets of its address in a text."""

    method: str
    url: str
    host: str
    headers: Mapping[str, str]
    body: bytes | None
    largest: int
    clean: Redactor = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read whole. `url`: where redirects led to; `headers` are looked up in any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def text(self) -> str:
        """The body in the charset of its Content-Type, else UTF-8; what is none becomes �."""
        found = _CHARSET.search(self.headers.get("Content-Type", ""))
        try:
            return self.content.decode(found[1] if found else "utf-8", errors="replace")
        except LookupError:  # a charset that nobody knows
            return self.content.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError, with the beginning of what is none."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            shown = foreign_text(self.text, 80)
            raise ValueError(f"{self._whence}: status {self.status}, no JSON: {shown!r}") from None

    def raise_for_status(self) -> "Answer":
        """This answer. Raises HttpStatus where its status is 400 or more."""
        if not self.ok:
            shown = foreign_text(self.text, 80)
            raise HttpStatus(f"{self._whence}: status {self.status}: {shown!r}", self.status)
        return self

    @property
    def _whence(self) -> str:
        return urlsplit(self.url).hostname or "?"


class Sender(Protocol):
    """What sends requests: workers/plain_http.py or workers/browser_http.py."""

    async def send(self, request: Request) -> Answer:
        """The whole answer, after redirects. Raises HttpFailed; has no deadline of its own."""

    async def aclose(self) -> None: ...


class Http:
    """An HTTP client of one run; cookies stay for the run. Each method raises HttpFailed without an
    answer in time, ValueError for an address or body that cannot be sent. Nothing is retried: a run
    is."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | str | Mapping[str, Any] | None = None,
        timeout: float = DEADLINE_S,
        largest: int = LARGEST_BODY,
    ) -> Answer:
        """The answer to a request, whatever its status. `params`: of the query; the body is `json`,
        or `data`: a form, if it is a mapping. `timeout` (seconds) is for all of it; `largest`
        (bytes) is the most that the body may have."""
        request = _request(method, url, params or {}, headers or {}, json, data, largest)
        try:
            async with asyncio.timeout(timeout):
                return await self._sender.send(request)
        except TimeoutError:
            raise HttpFailed(f"{request.host}: no answer within {timeout:g} s") from None

    async def get(self, url: str, **options: Any) -> Answer:
        return await self.request("GET", url, **options)

    async def head(self, url: str, **options: Any) -> Answer:
        return await self.request("HEAD", url, **options)

    async def post(self, url: str, **options: Any) -> Answer:
        return await self.request("POST", url, **options)

    async def put(self, url: str, **options: Any) -> Answer:
        return await self.request("PUT", url, **options)

    async def patch(self, url: str, **options: Any) -> Answer:
        return await self.request("PATCH", url, **options)

    async def delete(self, url: str, **options: Any) -> Answer:
        return await self.request("DELETE", url, **options)


class Body:
    """The body of an answer as it comes; `add` tells whether it is still small enough."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> bool:
        self._size += len(piece)
        if self._size <= self._request.largest:
            self._pieces.append(piece)
        return self._size <= self._request.largest

    def whole(self) -> bytes:
        """The bytes. Raises HttpFailed where there were too many."""
        if self._size > self._request.largest:
            raise HttpFailed(
                f"{self._request.host}: the answer has more than {self._request.largest} bytes"
            )
        return b"".join(self._pieces)


def _request(
    method: str,
    url: str,
    params: Mapping[str, Any],
    headers: Mapping[str, str],
    json_body: Any,
    data: bytes | str | Mapping[str, Any] | None,
    largest: int,
) -> Request:
    if not re.fullmatch(r"[A-Za-z]{1,20}", method):
        raise ValueError(f"{method[:20]!r} is no HTTP method")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("the address must begin with http:// or https:// and a host")
    if params:
        url = parts._replace(
            query="&".join(filter(None, [parts.query, urlencode(params, doseq=True)]))
        ).geturl()
    for name, value in headers.items():
        if not f"{name}{value}".isprintable():
            raise ValueError(f"the header {name[:40]!r} has a line break or control character")
    sent, body = _body(json_body, data)
    known = {name.lower() for name in headers}
    sent = {name: value for name, value in sent.items() if name.lower() not in known}
    secrets = [unquote(part) for part in (parts.username, parts.password) if part]
    secrets += [parts.query] if parts.query else []
    return Request(method.upper(), url, host, {**sent, **headers}, body, largest, Redactor(secrets))


def _body(
    json_body: Any, data: bytes | str | Mapping[str, Any] | None
) -> tuple[dict[str, str], bytes | None]:
    """The headers that tell of a body, and it."""
    if json_body is not None and data is not None:
        raise ValueError("json and data exclude each other")
    if json_body is not None:
        return {"Content-Type": "application/json"}, json.dumps(json_body).encode()
    if isinstance(data, Mapping):
        form = urlencode(data, doseq=True).encode()
        return {"Content-Type": "application/x-www-form-urlencoded"}, form
    return {}, data.encode() if isinstance(data, str) else data
