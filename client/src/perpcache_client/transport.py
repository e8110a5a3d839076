"""HTTP by httpx2, as far as Client and AsyncClient have it in common."""

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import httpx2

from perpcache_client.asking import GAP_S, Broken, Event, Listen, Reply, Send

_CONNECT_S: Final = 10.0
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
# What httpx2 raises for a request that had no whole answer.
BROKEN: Final = (httpx2.TransportError, httpx2.DecodingError, httpx2.StreamError)


def address(url: str) -> httpx2.URL:
    """Raises ValueError, without the password that an address may hold."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"the address cannot be read: {error}") from None
    if parsed.userinfo:
        raise ValueError("the address must not hold a name or password: a token is given by token=")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("the address must begin with http:// or https:// and name a host")
    if parsed.query or parsed.fragment:
        raise ValueError("the address must end with its path, without ? and #")
    return parsed


def headers(token: str | None) -> dict[str, str]:
    """Raises ValueError, without the token."""
    found = {"User-Agent": f"perpcache-client/{_version()}", "Accept-Encoding": "gzip, deflate"}
    if token is not None:
        if not _TOKEN.fullmatch(token):
            raise ValueError("the token must be visible ASCII characters, without spaces")
        found["Authorization"] = f"Bearer {token}"
    return found


def arguments(send: Send, now_s: float) -> dict[str, Any]:
    """What `stream` of httpx2 takes for this request."""
    left_s = max(send.deadline_s - now_s, 0.001)
    request = send.request
    return {
        "method": request.method,
        "url": request.path,
        "params": dict(request.params),
        "headers": dict(request.headers),
        "json": request.body,
        "timeout": httpx2.Timeout(
            min(left_s, GAP_S + request.wait_s), connect=min(left_s, _CONNECT_S)
        ),
    }


def listening(listen: Listen) -> dict[str, Any]:
    request = listen.request
    return {
        "method": request.method,
        "url": request.path,
        "params": dict(request.params),
        "headers": dict(request.headers),
        "timeout": httpx2.Timeout(listen.gap_s, connect=_CONNECT_S),
    }


def reply_of(response: httpx2.Response, body: bytes = b"") -> Reply:
    fields: Mapping[str, str] = {
        name.lower(): value for name, value in response.headers.multi_items()
    }
    return Reply(response.status_code, fields, body)


def broken(error: Exception) -> Broken:
    words = str(error) or type(error).__name__
    return Broken(words, timed_out=isinstance(error, httpx2.TimeoutException))


def event_of(event: httpx2.ServerSentEvent | None) -> Event:
    """Raises Broken where there are no more."""
    if event is None:
        raise Broken("the stream of events ended")
    return Event(event.event, event.data)


def check_time(send: Send, now_s: float) -> None:
    """Raises Broken when the time is over: each part of an answer may come in time, not all."""
    if now_s > send.deadline_s:
        raise Broken("the answer came too slowly", timed_out=True)


def _version() -> str:
    try:
        return version("perpcache-client")
    except PackageNotFoundError:  # run from its folder
        return "0"
