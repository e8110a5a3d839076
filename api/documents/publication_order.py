"""Decides which of two published versions of a document is the newer one, also after a lost store.

A version is a time by the exchanges' clocks. Where a wrong one was believed and the store is lost
afterwards, later documents have lower versions; the time of their publication shows it.
"""

from cache_manager import DocumentMeta


class PublicationOrder:
    """What a process knows of the order of each document's versions."""

    def __init__(self) -> None:
        self._fell_ms: dict[str, int] = {}  # by name: when a lower version was published

    def is_newer(self, found: DocumentMeta, held: DocumentMeta | None) -> bool:
        """Whether `found` is to replace `held`, a version of the same document."""
        if held is None:
            return True
        # 0, of an earlier release, says nothing.
        if held.published_ms and found.published_ms > held.published_ms:
            return True
        is_undone = 0 < found.published_ms < self._fell_ms.get(held.name, 0)
        return found.version > held.version and not is_undone

    def replaced(self, held: DocumentMeta, by: DocumentMeta) -> None:
        """Notes that `by` was taken. If its version is lower, higher ones of before may still
        arrive, from a replica or late."""
        if by.version < held.version:
            self._fell_ms[held.name] = by.published_ms
