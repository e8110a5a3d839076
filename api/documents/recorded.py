"""RecordedVersions: which version of a document was the newest at a time, or why none is told."""

from collections.abc import Awaitable, Callable
from typing import Final

from api.answers import NO_CACHE, Answer, Header, problem
from cache_manager import DocumentMeta
from database import LoggedVersion, PublishLog

_SOON: Final[Header] = (b"retry-after", b"2")


class RecordedVersions:
    """`read_meta`: of the newest version in the hot store.

    `at` raises DatabaseUnavailable and StoreUnavailable.
    """

    def __init__(
        self, publishes: PublishLog, read_meta: Callable[[str], Awaitable[DocumentMeta | None]]
    ) -> None:
        self._publishes = publishes
        self._read_meta = read_meta

    async def at(self, name: str, as_of_ms: int, *, made_of_it: str = "") -> LoggedVersion | Answer:
        """The version, a 404 before the first one, or a 503 while it is not recorded yet.
        `made_of_it`: the document that is made of this one, for the answer."""
        version = await self._publishes.version_at(name, as_of_ms)
        told = f"{made_of_it} is made of {name}, which" if made_of_it else name
        if version is None:
            bounds = await self._publishes.bounds(name)
            detail = (
                f"{told} is not recorded yet"
                if bounds is None
                else f"{told} is recorded since {bounds.first_ms}, after {as_of_ms}"
            )
            return problem(404, detail, NO_CACHE)
        if await self._is_recorded(version, as_of_ms):
            return version
        detail = f"{told} is recorded up to {version.updated_at_ms}, not yet to {as_of_ms}"
        detail += "; the record follows each publish, unless HISTORY is off"
        return problem(503, detail, NO_CACHE, _SOON)

    async def _is_recorded(self, version: LoggedVersion, as_of_ms: int) -> bool:
        """Whether no later version can have been the newest then: publishes are recorded in their
        order, some time after they came."""
        bounds = await self._publishes.bounds(version.document)
        if bounds is None or as_of_ms < bounds.last_ms:
            return True
        newest = await self._read_meta(version.document)
        return newest is None or newest.version <= bounds.last_version
