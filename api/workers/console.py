"""/console: the engine's own pages behind API_TOKEN, as Basic authentication, for browsers.

They are served as they come, with headers that let them load nothing from elsewhere.
"""

import asyncio
from collections.abc import Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final, cast
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from api.answers import Header, Receive, Scope, Send, answer_to, problem, send_answer
from api.request_body import read_body
from api.tokens import Tokens
from config import Settings
from database import Database, DatabaseUnavailable

PATH: Final = "/console"
_READING: Final = ("GET", "HEAD")
# The engine holds no failed job of ours, and what has failed is told by runs.
_REQUEUE: Final = "/jobs/requeue"
_NOT_HERE: Final = "a run is tried again by POST /api/runs/{id}/retry, not by its job"
_DEADLINE_S: Final = 2.7  # of an answer, even if the database does not
# The scripts and handlers that stand in the pages of PgQueuer 1.6.0 itself; a test computes them
# from the installed package. Nothing else runs but its files.
INLINE_HASHES: Final = (
    "sha256-KfiV/6ZykmYuRWOV9xCoh5ahIbtTrI1Y/vr2KTFkdSg=",
    "sha256-IzXnpgmCvfKXAmKf2AzObn6hfgbCbBdWa4zN5c97Lrc=",
    "sha256-wa6GMY3sL8/npkMjVoAnTy3/NrK5o5UlvTDvH2TwCII=",
    "sha256-D8d/LWSWfRrdZQvGsMbmqt3u5BKynKfIV/b91AKCYVI=",
)
_SCRIPTS: Final = " ".join(f"'{each}'" for each in INLINE_HASHES)
# Its script library adds a style element of its own, and one page has a style in an attribute.
_POLICY: Final = (
    f"default-src 'none'; script-src 'self' 'unsafe-hashes' {_SCRIPTS};"
    " style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final[tuple[Header, ...]] = (
    (b"content-security-policy", _POLICY.encode()),
    (b"cache-control", b"no-store"),
    # With no-referrer a browser would hide from us which page asks, too.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_HEADER_NAMES: Final = frozenset(name for name, _ in _HEADERS)

# The pages link to each other below a path with a slash at its end.
_TO_ITS_PAGES: Final = problem(307, "see the header Location", (b"location", b"console/"))

OpenConsole = Callable[[], AbstractAsyncContextManager[ASGIApp]]


class ConsoleEndpoint:
    """The application that the API routes to: the Console of the lifespan's state."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await cast(Console, scope["state"]["console"])(scope, receive, send)


def console_routes() -> list[BaseRoute]:
    endpoint = ConsoleEndpoint()
    return [Route(PATH, endpoint, include_in_schema=False), Mount(PATH, endpoint)]


class Console:
    """The ASGI application below PATH. `open_console` is entered at the first request that may see
    it, and left by `aclose`; it raises DatabaseUnavailable, as the pages do."""

    def __init__(self, settings: Settings, tokens: Tokens, open_console: OpenConsole) -> None:
        self._runs = settings.schedules == "on"
        self._tokens = tokens
        self._open = open_console
        self._opening = asyncio.Lock()
        self._opened = AsyncExitStack()
        self._app: ASGIApp | None = None

    async def aclose(self) -> None:
        async with self._opening:
            self._app = None
            await self._opened.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`scope` as a mount at PATH makes it, or of PATH itself."""
        try:
            self._check(scope)
            answer = _TO_ITS_PAGES if scope["path"].endswith(PATH) else None
        except HTTPException as error:
            answer = answer_to(error, PATH)
        if answer is not None:
            await send_answer(scope, send, answer)
            return
        await self._serve(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        """Raises HTTPException."""
        self._tokens.require_console(scope)
        if not self._runs:
            raise HTTPException(404, "the console is off: SCHEDULES=off starts no engine")
        if scope["method"] not in _READING and not _is_of_our_page(scope):
            raise HTTPException(403, "the console's own pages alone may change something")
        if scope["method"] not in _READING and scope["path"].endswith(_REQUEUE):
            raise HTTPException(409, _NOT_HERE)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                if message["status"] >= 500:  # what is raised then is answered below
                    return
                started = True
                others = [each for each in message["headers"] if each[0] not in _HEADER_NAMES]
                message["headers"] = [*others, *_HEADERS]
            if started:
                await send(message)

        try:
            body = b"" if scope["method"] in _READING else await read_body(Request(scope, receive))
            async with asyncio.timeout(_DEADLINE_S):
                app = await self._get_app()
                await app(_own_scope(scope), _replayed(body, receive), send_guarded)
        except Exception as error:
            if started:
                raise
            if isinstance(error, TimeoutError):
                error = DatabaseUnavailable(f"the database did not answer within {_DEADLINE_S:g} s")
            await send_answer(scope, send, answer_to(error, PATH))

    async def _get_app(self) -> ASGIApp:
        async with self._opening:
            if self._app is None:
                self._app = await self._opened.enter_async_context(self._open())
            return self._app


def _is_of_our_page(scope: Scope) -> bool:
    """Whether a page of this very host asks: browsers say so of every POST."""
    named = dict(scope["headers"])
    asking = named.get(b"origin", named.get(b"referer", b""))
    try:
        netloc = urlsplit(asking.decode("latin-1")).netloc
    except ValueError:
        return False
    host: bytes = named.get(b"host", b"")
    return bool(netloc) and bool(netloc == host.decode("latin-1"))


def _own_scope(scope: Scope) -> Scope:
    """A scope of its own, whose pages link below PATH: the framework notes its routes there."""
    others = {name: value for name, value in scope.items() if name not in ("router", "route")}
    return {**others, "app_root_path": scope["root_path"]}


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive` with this body first, which has been read."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> MutableMapping[str, Any]:
        return left.pop() if left else await receive()

    return replay


def engine_console(settings: Settings, database: Database) -> OpenConsole:
    """The console of the engine in this database."""

    def open_it() -> AbstractAsyncContextManager[ASGIApp]:
        # Imported here: an API process seldom needs the engine.
        from workers.engine import open_console

        return open_console(database, settings.pgqueuer_schema)

    return open_it
