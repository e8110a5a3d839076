"""The hot store's RESP client: a pool of connections to Redis or Valkey, and its listeners."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ReadOnlyError, RedisError, ResponseError

from addresses.redis_url import driver_url
from addresses.secrets import secrets_in
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

_PING_AFTER_S: Final = 10.0  # a listener without messages for so long checks its connection
# Servers append this to the error of a command inside a script.
_IN_SCRIPT: Final = re.compile(r" script: (?:\w+, )?on @user_script:\d+\.?$")
# In the errors NOPERM and unknown command.
_CLIENT_COMMAND: Final = re.compile(r"['`]client['`|]", re.IGNORECASE)


class NativeStore:
    """Redis or Valkey by redis://, rediss:// or unix://, over a small pool of connections."""

    kind: Kind = "native"

    def __init__(
        self,
        url: str,
        *,
        client_name: str,
        prefix: str = "",
        max_connections: int = CONNECTIONS,
    ) -> None:
        self.prefix = prefix
        options: dict[str, Any] = dict(parse_url(driver_url(url)))
        self._connection_class: type[AbstractConnection] = options.pop(
            "connection_class", Connection
        )
        self._options = options | {
            "client_name": client_name,
            "protocol": 2,
            "decode_responses": False,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "socket_timeout": None,  # the command's deadline covers connecting and reading
            "socket_connect_timeout": None,
            "health_check_interval": 0,
        }
        # A server without AUTH repeats the password in its error: unknown command, with args ...
        self._clean = Redactor(secrets_in(url)).clean
        self._named = True
        self._client_name = client_name
        self._slots = asyncio.Semaphore(max_connections)
        self._idle: list[AbstractConnection] = []
        self._closed = False

    async def execute(self, *command: Word, deadline_s: float = DEADLINE_S) -> Any:
        words = with_prefix(self.prefix, command)
        try:
            async with asyncio.timeout(deadline_s), self._slots:
                reply = await self._send(words)
        except TimeoutError:
            # Idle connections are probably dead too, and new ones are cheap.
            await self._discard(*self._take_idle())
            raise StoreUnavailable(f"redis: no answer within {deadline_s:g} s") from None
        except Exception as error:
            raise _unavailable(error, self._clean) from None
        return checked_reply(reply, command, self.kind)

    def script(self, name: str, lua: str) -> Script:
        return Script(self, name, lua)

    def channel(self, name: str) -> str:
        return self.prefix + name

    @contextlib.asynccontextmanager
    async def listen(self, *channels: str) -> AsyncIterator["Messages"]:
        """The messages of these channels, by their full names, over a connection of their own.

        The subscription is confirmed on entering. Raises StoreUnavailable on entering and, if
        the connection is lost, while listening.
        """
        try:
            async with asyncio.timeout(DEADLINE_S):
                connection = await self._connected(f"{self._client_name}:listen")
        except Exception as error:
            raise _unavailable(error, self._clean) from None
        try:
            messages = Messages(connection, self._clean)
            await messages.subscribe(channels)
            yield messages
        finally:
            await self._discard(connection)

    async def aclose(self) -> None:
        self._closed = True
        await self._discard(*self._take_idle())

    async def _send(self, command: tuple[Word, ...]) -> Any:
        connection = await self._get_connection()
        try:
            await connection.send_packed_command(
                pack_command(command)  # type: ignore[arg-type]  # its stub has one word
            )
            reply = await connection.read_response()
        except ReadOnlyError:
            # After a failover the address leads new connections to the primary.
            await self._discard(connection, *self._take_idle())
            raise
        except ResponseError:
            self._idle.append(connection)
            raise
        except BaseException:
            # The reply may still arrive, and no other command may read it.
            await self._discard(connection)
            raise
        if self._closed:
            await self._discard(connection)
        else:
            self._idle.append(connection)
        return reply

    async def _get_connection(self) -> AbstractConnection:
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
        return await self._connected(self._client_name)

    async def _connected(self, client_name: str) -> AbstractConnection:
        name = client_name if self._named else None
        connection = self._connection_class(**(self._options | {"client_name": name}))
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except ValueError:
            # From the files of TLS options; a value in its message may be a secret.
            await self._discard(connection)
            raise RedisError("a TLS option of REDIS_URL has a value that TLS refuses") from None
        except BaseException as error:
            await self._discard(connection)
            if name is not None and _is_about_names(error):
                # The user may not, or the server cannot, name its connections. Others that were
                # opened at the same time find out by themselves.
                self._named = False
                return await self._connected(client_name)
            raise
        return connection

    def _take_idle(self) -> list[AbstractConnection]:
        taken, self._idle = self._idle, []
        return taken

    async def _discard(self, *connections: AbstractConnection) -> None:
        """Closes at once, without waiting for a stalled server to read what was sent."""
        for connection in connections:
            # A private part: tests/stores/test_private_parts.py names the version to look again at.
            writer: asyncio.StreamWriter | None = getattr(connection, "_writer", None)
            if writer is not None:
                writer.transport.abort()
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)


class Messages:
    """The payloads that one listening connection receives, in order, as an async iterator."""

    def __init__(self, connection: AbstractConnection, clean: Callable[[str], str]) -> None:
        self._connection = connection
        self._clean = clean

    async def subscribe(self, channels: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._connection.send_command("SUBSCRIBE", *channels)
                for _ in channels:
                    await self._connection.read_response()
        except Exception as error:
            raise _unavailable(error, self._clean) from None

    def __aiter__(self) -> "Messages":
        return self

    async def __anext__(self) -> bytes:
        ping_sent = False
        try:
            while True:
                wait_s = DEADLINE_S if ping_sent else _PING_AFTER_S
                try:
                    reply = await self._connection.read_response(
                        timeout=wait_s, disconnect_on_error=False
                    )
                except ResponseError:
                    # A server with a full disk refuses PING, but its answer shows that it is up.
                    reply = (b"refused",)
                if reply is None and ping_sent:
                    raise RedisError(f"no answer to PING within {DEADLINE_S:g} s while listening")
                if reply is None:
                    async with asyncio.timeout(DEADLINE_S):
                        await self._connection.send_command("PING")
                    ping_sent = True
                elif reply[0] == b"message":
                    payload: bytes = reply[2]
                    return payload
                else:
                    ping_sent = False
        except Exception as error:
            raise _unavailable(error, self._clean) from None


def _error_code(error: RedisError, clean: Callable[[str], str]) -> tuple[str, str]:
    """The error's code and full text; redis-py strips known codes from the text."""
    text = clean(_IN_SCRIPT.sub("", str(error)))
    code = error.status_code or text.partition(" ")[0]
    return code, short(text if text.startswith(code) else f"{code} {text}")


def _is_about_names(error: BaseException) -> bool:
    return isinstance(error, RedisError) and _CLIENT_COMMAND.search(str(error)) is not None


def _unavailable(error: Exception, clean: Callable[[str], str]) -> StoreUnavailable:
    if not isinstance(error, RedisError | OSError | TimeoutError):
        # The driver raises other types for what no server sends; their text may quote it.
        return StoreUnavailable("redis: the answer is not what Redis sends")
    # What the server refuses while connecting is the cause of redis-py's own error.
    refused = error.__cause__ if isinstance(error.__cause__, ResponseError) else error
    if isinstance(refused, ResponseError | AuthenticationError):
        code, reason = _error_code(refused, clean)
        return StoreRefused(f"redis: {reason}", code)
    return StoreUnavailable(f"redis: {short(clean(str(error))) or 'no answer in time'}")
