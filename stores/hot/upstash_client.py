"""The hot store's Upstash client: each command is one REST call, sent once and never retried."""

import asyncio
import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import aiohttp
import orjson
from upstash_redis.errors import UpstashError
from upstash_redis.http import AsyncHttpClient, make_headers

from addresses.proxied_requests import request_options, socks_connector
from addresses.proxy import Proxy
from stores.hot.keys import with_prefix
from stores.hot.store import (
    CONNECTIONS,
    DEADLINE_S,
    Kind,
    Script,
    StoreRefused,
    StoreUnavailable,
    Word,
    checked_reply,
    short,
)
from texts.redaction import Redactor

_KEPT_ALIVE_S: Final = 75.0  # for an idle connection
_DEEPEST: Final = 8  # lists in lists; replies have three
_LARGEST: Final = 16 * 2**20  # bytes of an answer; Upstash sends at most 10 MB


class UpstashStore:
    """Upstash over its REST API, which carries text only; documents are stored as base64."""

    kind: Kind = "upstash"

    def __init__(
        self, url: str, token: str, *, prefix: str = "", proxy: Proxy | None = None
    ) -> None:
        self.prefix = prefix
        if not (token.isascii() and token.isprintable()):
            raise ValueError("UPSTASH_REDIS_REST_TOKEN must be printable ASCII")
        self._redactor = Redactor((token, *_secrets_of(proxy)))
        self._url = url
        self._headers = make_headers(token, None, allow_telemetry=False)
        self._client = _UpstashClient(_AiohttpClient(proxy), self._headers)

    async def execute(self, *command: Word, deadline_s: float = DEADLINE_S) -> Any:
        name, *arguments = with_prefix(self.prefix, command)
        words = [str(name).lower(), *map(_as_text, arguments)]
        try:
            async with asyncio.timeout(deadline_s):
                reply = _as_bytes(await self._client.execute(self._url, self._headers, words))
        except TimeoutError:
            raise StoreUnavailable(f"upstash: no answer within {deadline_s:g} s") from None
        except _Busy as error:
            raise StoreRefused(f"upstash: {self._reason(error)}", "BUSY") from None
        except UpstashError as error:
            reason = self._reason(error)
            raise StoreRefused(f"upstash: {reason}", reason.partition(" ")[0]) from None
        except Exception as error:
            # The client raises many types for a proxy's page, a cut connection or wrong JSON.
            raise StoreUnavailable(f"upstash: {words[0].upper()}: {self._reason(error)}") from None
        return checked_reply(reply, command, self.kind)

    def script(self, name: str, lua: str) -> Script:
        return Script(self, name, lua)

    def channel(self, name: str) -> str:
        return self.prefix + name

    async def aclose(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]

    def _reason(self, error: Exception) -> str:
        text = self._redactor.clean(str(error))
        if isinstance(error, UpstashError | _Busy | _UnexpectedAnswer):
            return short(text)
        if isinstance(error, ValueError | KeyError | TypeError | AttributeError):
            return "the answer is not what Upstash sends"
        return short(f"{type(error).__name__} {text}".strip())


class _UpstashClient(AsyncHttpClient):
    """The Upstash client's requests and answers, over `http`.

    Its own constructor makes an httpx client, which reads the environment and fails there for
    proxies that it does not know, whoever they are for.
    """

    def __init__(self, http: "_AiohttpClient", headers: dict[str, str]) -> None:
        # Private parts: tests/stores/test_private_parts.py names the version to look again at.
        self._encoding = None
        self._retries, self._retry_interval = 0, 0.0
        self._client = cast(Any, http)
        # With it, a command sees what the commands before it wrote, whichever replica answers.
        self._sync_token_cb = lambda token: headers.update({"Upstash-Sync-Token": token})


class _AiohttpClient:
    """The HTTP client interface that the Upstash client uses, on aiohttp.

    Its default, httpx, leaks a connection now and then when a request is cancelled at its
    deadline, until a bounded pool is empty. It also drops an idle connection after 5 s (one
    poll), and encodes megabytes of JSON slowly.
    """

    def __init__(self, proxy: Proxy | None) -> None:
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def post(self, url: str, *, headers: dict[str, str], json: Any) -> "_Answer":
        if self._closed:
            raise aiohttp.ClientConnectionError("the client is closed")
        if self._session is None:
            self._session = self._open()
        options = request_options(self._proxy, urlsplit(url).scheme)
        typed = headers | {"Content-Type": "application/json"} | options.pop("headers", {})
        async with self._session.post(
            url,
            headers=typed,
            data=io.BytesIO(orjson.dumps(json)),
            allow_redirects=False,
            **options,
        ) as response:
            return _Answer(response.status, response.headers, await _read(response))

    def _open(self) -> aiohttp.ClientSession:
        connector: aiohttp.BaseConnector
        if self._proxy is not None and self._proxy.is_socks:
            connector = socks_connector(
                self._proxy, limit=CONNECTIONS, keepalive_timeout=_KEPT_ALIVE_S
            )
        else:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=_KEPT_ALIVE_S)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # the command has its own deadline
            trust_env=False,  # it would read ~/.netrc too; the settings know of proxies
        )

    async def aclose(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()


class _Busy(Exception):
    """Upstash answered 429 or 5xx."""


class _UnexpectedAnswer(Exception):
    """The answer is not JSON, such as a proxy's error page, or lists without end."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        content = None
        with contextlib.suppress(ValueError):
            content = orjson.loads(self.body)
        if not isinstance(content, dict):
            kind = self.headers.get("Content-Type", "no type").partition(";")[0]
            raise _UnexpectedAnswer(
                f"the answer is not what Upstash sends: HTTP {self.status}, {kind}"
            )
        if self.status == 429 or self.status >= 500:
            raise _Busy(f"HTTP {self.status}: {content.get('error')}")
        return content


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body. Raises _UnexpectedAnswer for one that is too large."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > _LARGEST:
            raise _UnexpectedAnswer(f"the answer has more than {_LARGEST} bytes")
    return b"".join(chunks)


def _secrets_of(proxy: Proxy | None) -> tuple[str, ...]:
    if proxy is None or not proxy.password:
        return ()
    return proxy.password, f"{proxy.username or ''}:{proxy.password}"


def _as_text(word: Word) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


def _as_bytes(reply: Any, depth: int = 0) -> Any:
    if isinstance(reply, str):
        return reply.encode()
    if isinstance(reply, list):
        if depth == _DEEPEST:
            raise _UnexpectedAnswer(f"the answer has more than {_DEEPEST} lists in lists")
        return [_as_bytes(part, depth + 1) for part in reply]
    return reply
