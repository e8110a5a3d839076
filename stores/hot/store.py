"""The hot store's interface: raw commands, Lua scripts, deadlines and errors.

redis_client.py implements it over RESP, upstash_client.py over REST.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol, TypeVar

from stores.hot.replies import Shape, WrongShape, shape_of_command
from texts.foreign import cut

DEADLINE_S: Final = 2.0  # for one command, including the connect
PIECE_DEADLINE_S: Final = 30.0  # for one command that moves megabytes
CONNECTIONS: Final = 16  # per process and store; further callers wait for a free one
_LONGEST_REASON: Final = 200  # characters: Upstash repeats the whole command in its errors
# Codes of a store that is starting, failing over, busy, or has a full disk.
_TRANSIENT: Final = frozenset(
    (
        *("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "BUSY"),
        "MISCONF",
    )
)

T = TypeVar("T")
Word = str | bytes | int
Kind = Literal["native", "upstash"]


class StoreUnavailable(Exception):
    """The hot store gave no timely answer; the message names the store and the reason."""


class StoreRefused(StoreUnavailable):
    """The hot store answered with an error; `code` is its first word, such as OOM or READONLY.

    `transient`: the same command may succeed later, so callers retry as if the store were away.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code
        self.transient = code in _TRANSIENT


class HotStore(Protocol):
    """Sends raw commands, each once: only callers know which commands are safe to repeat."""

    kind: Kind
    prefix: str

    async def execute(self, *command: Word, deadline_s: float = DEADLINE_S) -> Any:
        """The reply: bytes, int, None or a list of these. The keys get `prefix`.

        Raises StoreRefused for an error reply, StoreUnavailable if none came in `deadline_s`, or
        one of another shape than the command has.
        """

    def script(self, name: str, lua: str) -> "Script":
        """A script that runs by its hash; `name` is for errors."""

    def channel(self, name: str) -> str:
        """The full name of a channel."""

    async def aclose(self) -> None:
        """Closes every connection; later commands raise StoreUnavailable."""


class Script:
    """A Lua script, called by its hash and sent in full only when the store lacks it."""

    def __init__(self, store: HotStore, name: str, lua: str) -> None:
        self._store = store
        self._name = name
        self._lua = lua
        self._sha = hashlib.sha1(lua.encode(), usedforsecurity=False).hexdigest()

    async def run(
        self,
        keys: Sequence[str],
        args: Sequence[Word] = (),
        *,
        reply: Shape[T],
        deadline_s: float = DEADLINE_S,
    ) -> T:
        """The script's reply, of the shape `reply`. Raises as `HotStore.execute` does."""
        words = (len(keys), *keys, *args)
        came = await self._run(words, deadline_s)
        return _checked(came, reply, self._store.kind, f"script {self._name}")

    async def _run(self, words: tuple[Word, ...], deadline_s: float) -> Any:
        try:
            return await self._store.execute("EVALSHA", self._sha, *words, deadline_s=deadline_s)
        except StoreRefused as error:
            if error.code != "NOSCRIPT":  # the script has not run, so a second call is safe
                raise
        return await self._store.execute("EVAL", self._lua, *words, deadline_s=deadline_s)


def checked_reply(came: Any, command: tuple[Word, ...], kind: Kind) -> Any:
    """The reply to the command, with a shape that the command has. Raises StoreUnavailable."""
    name = str(command[0]).upper()
    return _checked(came, shape_of_command(name, len(command) - 1), kind, name)


def _checked(came: Any, shape: Shape[T], kind: Kind, asked: str) -> T:
    try:
        return shape(came)
    except WrongShape as error:
        server = "redis" if kind == "native" else "upstash"
        raise StoreUnavailable(f"{server}: {asked}: {error}") from None


def short(reason: str) -> str:
    """The reason, cut to _LONGEST_REASON characters."""
    return cut(reason, _LONGEST_REASON)
