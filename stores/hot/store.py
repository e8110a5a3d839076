"""The hot store as everything above asks it: raw commands, scripts, deadlines and errors.

Knows nothing of documents, leases or jobs. redis_client.py speaks RESP, upstash_client.py REST.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol

DEADLINE_S: Final = 2.0  # of one command, connecting included
PIECE_DEADLINE_S: Final = 30.0  # of one that moves megabytes
CONNECTIONS: Final = 16  # per process and store; more callers wait for a free one
_LONGEST_REASON: Final = 200  # characters: Upstash repeats the whole command in its errors
# A store that starts, is not the primary at the moment, or whose disk is full, is as good as away.
_PASSING: Final = frozenset(
    (
        *("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "BUSY"),
        "MISCONF",
    )
)

Word = str | bytes | int


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


def short(reason: str) -> str:
    """A reason as a message may hold it."""
    return reason if len(reason) <= _LONGEST_REASON else reason[:_LONGEST_REASON] + "…"
