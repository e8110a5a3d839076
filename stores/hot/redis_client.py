"""The hot store's client: raw commands, each under a deadline; here over RESP.

Knows nothing of documents, leases or jobs; everything above is written once on `execute`.
upstash_client.py is the same over Upstash's REST API.
"""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Literal, Protocol

import structlog
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ReadOnlyError, RedisError, ResponseError

from config import Settings
from logging_setup import OutageLog

DEADLINE_S: Final = 2.0  # of one command, connecting included
PIECE_DEADLINE_S: Final = 30.0  # of one that moves megabytes
CONNECTIONS: Final = 16  # per process and store; more callers wait for a free one
_SILENCE_S: Final = 10.0  # a listener that hears nothing for so long asks whether all is well
_LONGEST_REASON: Final = 200  # characters: Upstash repeats the whole command in its errors
_STEADY_S: Final = 5.0  # a listener that was connected for so long is connected again at once
# A store that starts, is not the primary at the moment, or whose disk is full, is as good as away.
_PASSING: Final = frozenset(
    (
        *("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "BUSY"),
        "MISCONF",
    )
)
# What servers add to the error of a command inside a script, after the command's own words.
_IN_SCRIPT: Final = re.compile(r" script: (?:\w+, )?on @user_script:\d+\.?$")

Word = str | bytes | int
log = structlog.get_logger(__name__)


class StoreUnavailable(Exception):
    """The hot store gave no timely answer; the message says which store and why, no secrets."""


class StoreRefused(StoreUnavailable):
    """The hot store answered with an error; `code` is its first word, such as OOM or READONLY.

    `passing`: it says that it cannot at the moment, and is to be waited for like one that is away.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code
        self.passing = code in _PASSING


class HotStore(Protocol):
    """One raw command after another. Nothing is ever sent twice: callers decide what may be."""

    kind: Literal["native", "upstash"]

    async def execute(self, *command: Word, deadline_s: float = DEADLINE_S) -> Any:
        """The reply: bytes, int, None or a list of these.

        Raises StoreRefused for an error reply, StoreUnavailable for none within `deadline_s`.
        """

    def script(self, lua: str) -> "Script":
        """A script to run by its hash."""

    async def aclose(self) -> None:
        """Closes every connection; later commands raise StoreUnavailable."""


class Script:
    """A Lua script, sent once and called by its hash from then on."""

    def __init__(self, store: HotStore, lua: str) -> None:
        self._store = store
        self._lua = lua
        self._sha = hashlib.sha1(lua.encode(), usedforsecurity=False).hexdigest()

    async def run(
        self,
        keys: Sequence[str],
        args: Sequence[Word] = (),
        *,
        deadline_s: float = DEADLINE_S,
    ) -> Any:
        """The script's reply. Raises as `HotStore.execute` does."""
        words: tuple[Word, ...] = (len(keys), *keys, *args)
        try:
            return await self._store.execute("EVALSHA", self._sha, *words, deadline_s=deadline_s)
        except StoreRefused as error:
            if error.code != "NOSCRIPT":  # it was not run, so it may be sent again
                raise
        return await self._store.execute("EVAL", self._lua, *words, deadline_s=deadline_s)


def open_hot_store(where: Settings | str, *, client_name: str) -> HotStore:
    """The client of the store that the settings, or a redis URL, name. Connects when first used.

    Raises ValueError where the settings name no store, or the URL cannot be used.
    """
    if isinstance(where, str):
        return NativeStore(where, client_name=client_name)
    if where.upstash_redis_rest_url and where.upstash_redis_rest_token:
        # Its client brings much along that who has a Redis need not load.
        from stores.hot.upstash_client import UpstashStore

        token = where.upstash_redis_rest_token.get_secret_value()
        return UpstashStore(where.upstash_redis_rest_url, token)
    if where.redis_url:
        return NativeStore(where.redis_url.get_secret_value(), client_name=client_name)
    raise ValueError("no hot store is configured: give the address of the embedded one")


class NativeStore:
    """Redis or Valkey by redis://, rediss:// or unix://, over a small pool of connections."""

    kind: Literal["native", "upstash"] = "native"

    def __init__(self, url: str, *, client_name: str, max_connections: int = CONNECTIONS) -> None:
        options: dict[str, Any] = dict(parse_url(url))
        self._make: type[AbstractConnection] = options.pop("connection_class", Connection)
        for pool_option in ("max_connections", "timeout"):
            options.pop(pool_option, None)
        self._options = options | {
            "client_name": client_name,
            "protocol": 2,
            "decode_responses": False,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "socket_timeout": None,  # the deadline of the command stands over all of it
            "socket_connect_timeout": None,
            "health_check_interval": 0,
        }
        try:
            self._new_connection(client_name)
        except TypeError:
            raise ValueError("the redis URL has an option that is not known") from None
        self._client_name = client_name
        self._slots = asyncio.Semaphore(max_connections)
        self._idle: list[AbstractConnection] = []
        self._closed = False

    async def execute(self, *command: Word, deadline_s: float = DEADLINE_S) -> Any:
        try:
            async with asyncio.timeout(deadline_s), self._slots:
                return await self._ask(command)
        except TimeoutError:
            # The others are likely to be as dead; a healthy server gives new ones at once.
            await self._discard(*self._take_idle())
            raise StoreUnavailable(f"redis: no answer within {deadline_s:g} s") from None
        except (ResponseError, AuthenticationError) as error:
            code, reason = _error_code(error)
            raise StoreRefused(f"redis: {reason}", code) from None
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"redis: {short(str(error))}") from None

    def script(self, lua: str) -> Script:
        return Script(self, lua)

    @contextlib.asynccontextmanager
    async def listen(self, *channels: str) -> AsyncIterator["Messages"]:
        """The messages of these channels, over a connection that serves nothing else.

        On entering, the subscription stands. Raises StoreUnavailable on entering and while
        listening, when the connection is lost.
        """
        connection = self._new_connection(f"{self._client_name}:listen")
        try:
            messages = Messages(connection)
            await messages.subscribe(channels)
            yield messages
        finally:
            await self._discard(connection)

    async def aclose(self) -> None:
        self._closed = True
        await self._discard(*self._take_idle())

    async def _ask(self, command: tuple[Word, ...]) -> Any:
        connection = await self._connected()
        try:
            await connection.send_command(*command)
            reply = await connection.read_response()
        except ReadOnlyError:
            # The address may name another server by now, one that is not a replica.
            await self._discard(connection, *self._take_idle())
            raise
        except ResponseError:
            self._idle.append(connection)
            raise
        except BaseException:
            # A reply may still be on its way: nobody else may read it.
            await self._discard(connection)
            raise
        if self._closed:
            await self._discard(connection)
        else:
            self._idle.append(connection)
        return reply

    async def _connected(self) -> AbstractConnection:
        if self._closed:
            raise RedisError("the client is closed")
        while self._idle:
            connection = self._idle.pop()
            try:
                dirty = await connection.can_read()  # also true when the server has closed it
            except (RedisError, OSError):
                dirty = True
            if not dirty:
                return connection
            await self._discard(connection)
        connection = self._new_connection(self._client_name)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await self._discard(connection)
            raise
        return connection

    def _new_connection(self, client_name: str) -> AbstractConnection:
        return self._make(**(self._options | {"client_name": client_name}))

    def _take_idle(self) -> list[AbstractConnection]:
        taken, self._idle = self._idle, []
        return taken

    async def _discard(self, *connections: AbstractConnection) -> None:
        """Closes at once: bytes that a stalled server does not take are not waited for."""
        for connection in connections:
            writer: asyncio.StreamWriter | None = getattr(connection, "_writer", None)
            if writer is not None:
                writer.transport.abort()
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)


class Messages:
    """What one listening connection hears, in order: iterate over the payloads."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection

    async def subscribe(self, channels: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._connection.connect()  # type: ignore[no-untyped-call]
                await self._connection.send_command("SUBSCRIBE", *channels)
                for _ in channels:
                    await self._connection.read_response()
        except (TimeoutError, RedisError, OSError) as error:
            raise _lost(error) from None

    def __aiter__(self) -> "Messages":
        return self

    async def __anext__(self) -> bytes:
        asked = False
        try:
            while True:
                wait_s = DEADLINE_S if asked else _SILENCE_S
                try:
                    heard = await self._connection.read_response(
                        timeout=wait_s, disconnect_on_error=False
                    )
                except ResponseError:
                    # A server that cannot write to its disk refuses even the PING; it is there.
                    heard = (b"refused",)
                if heard is None and asked:
                    raise RedisError("the listening connection fell silent")
                if heard is None:
                    async with asyncio.timeout(DEADLINE_S):
                        await self._connection.send_command("PING")
                    asked = True
                elif heard[0] == b"message":
                    payload: bytes = heard[2]
                    return payload
                else:
                    asked = False
        except (TimeoutError, RedisError, OSError) as error:
            raise _lost(error) from None


class Subscription:
    """One channel, heard for as long as this is open; reconnects by itself, and says so.

    `on_message` gets each payload. `on_connected` is called each time the subscription stands
    anew: messages sent before that were missed. `live` says whether it stands now.
    """

    def __init__(
        self,
        store: NativeStore,
        channel: str,
        on_message: Callable[[bytes], None],
        on_connected: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._channel = channel
        self._on_message = on_message
        self._on_connected = on_connected
        self._task: asyncio.Task[None] | None = None
        self.live = False

    def start(self) -> None:
        """Begins to listen; does nothing if it has begun."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"listen {self._channel}")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause_s = 0.05
        clock = asyncio.get_running_loop().time
        outage = OutageLog(log, "listening_lost", "listening_again")
        while True:
            connected_at = clock()
            try:
                async with self._store.listen(self._channel) as messages:
                    self.live = True
                    connected_at = clock()
                    outage.recovered(channel=self._channel)
                    self._on_connected()
                    async for message in messages:
                        self._on_message(message)
            except StoreUnavailable as error:
                if clock() - connected_at > _STEADY_S:
                    pause_s = 0.05
                outage.failed(error, channel=self._channel)
            finally:
                self.live = False
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 1.0)


def _error_code(error: RedisError) -> tuple[str, str]:
    """The error's first word, and the whole of it: the client cuts known words off."""
    text = _IN_SCRIPT.sub("", str(error))
    code = error.status_code or text.partition(" ")[0]
    return code, short(text if text.startswith(code) else f"{code} {text}")


def _lost(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"redis: {short(str(error)) or 'no answer in time'}")


def short(reason: str) -> str:
    """A reason as a message may hold it."""
    return reason if len(reason) <= _LONGEST_REASON else reason[:_LONGEST_REASON] + "…"
