"""DesiredCollector: what is wanted of a collector, by its file and by what was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from live.configured.definition import CollectorDefinition
from stores.cold.collectors import CollectorWish
from stores.cold.pool import DatabaseUnavailable


class KnownFile(msgspec.Struct, frozen=True):
    """The newest copy of a file that any process has read."""

    path: str
    modified_ms: int
    collectors: tuple[CollectorDefinition, ...]


class _NamedWish(msgspec.Struct, frozen=True):
    name: str
    enabled: bool | None
    running: bool
    added: dict[str, str]
    removed: tuple[str, ...]
    restarts: int
    changed_ms: int


class _Known(msgspec.Struct, frozen=True):
    files: tuple[KnownFile, ...]
    wishes: tuple[_NamedWish, ...]


_DECODER: Final = msgspec.json.Decoder(_Known)


_NO_WISH: Final = CollectorWish()


@dataclass(frozen=True, slots=True)
class DesiredCollector:
    """`definition`: of the file that was changed last among those that name it, at
    `defined_ms`."""

    definition: CollectorDefinition
    defined_ms: int
    wish: CollectorWish = _NO_WISH

    @property
    def enabled(self) -> bool:
        """Whether it may run at all."""
        wish = self.wish.enabled
        return self.definition.enabled if wish is None else wish

    @property
    def runs(self) -> bool:
        """Whether it is to run now."""
        return self.enabled and self.wish.running

    @property
    def symbols(self) -> dict[str, str]:
        """The symbols as they were written, each with the exchange's name: those of the file that
        were not removed, and those that were added."""
        found = {
            symbol: native
            for symbol, native in self.definition.symbols.items()
            if native not in self.wish.removed
        }
        natives = set(found.values())
        return found | {
            symbol: native for symbol, native in self.wish.added.items() if native not in natives
        }


def read_desired(
    text: str | bytes | None, own: KnownFile | None = None
) -> dict[str, DesiredCollector]:
    """What is wanted of every collector that a file names, by name, of what the cold store has
    (`LiveCollectors.read`; None: nothing). `own`: a file, which counts unless a newer copy of it is
    known. Raises msgspec.MsgspecError for what no release of ours has written."""
    known = _Known((), ()) if text is None else _DECODER.decode(text)
    files = {file.path: file for file in known.files}
    if own is not None and (own.path not in files or files[own.path].modified_ms < own.modified_ms):
        files[own.path] = own
    wishes = {wish.name: _wish(wish) for wish in known.wishes}
    found: dict[str, DesiredCollector] = {}
    for file in sorted(files.values(), key=lambda file: (file.modified_ms, file.path)):
        for definition in file.collectors:
            wish = wishes.get(definition.name, _NO_WISH)
            found[definition.name] = DesiredCollector(definition, file.modified_ms, wish)
    return dict(sorted(found.items()))


def desired_of(text: str) -> dict[str, DesiredCollector]:
    """What the cold store says, for those that have no file. Raises DatabaseUnavailable for what no
    release of ours has written."""
    try:
        return read_desired(text)
    except msgspec.MsgspecError as error:
        raise DatabaseUnavailable(f"the database holds unreadable collectors: {error}") from None


def _wish(stored: _NamedWish) -> CollectorWish:
    return CollectorWish(
        stored.enabled,
        stored.running,
        stored.added,
        stored.removed,
        stored.restarts,
        stored.changed_ms or None,
    )


def with_symbol(
    definition: CollectorDefinition, wish: CollectorWish, symbol: str, native: str
) -> CollectorWish:
    """The wish with a market; the same if the collector has it in any writing."""
    removed = tuple(each for each in wish.removed if each != native)
    known = {*definition.symbols.values(), *wish.added.values()}
    added = wish.added if native in known else {**wish.added, symbol: native}
    return replace(wish, removed=removed, added=added)


def without_symbol(
    definition: CollectorDefinition, wish: CollectorWish, native: str
) -> CollectorWish:
    """The wish without a market; the same if the collector does not have it."""
    added = {symbol: each for symbol, each in wish.added.items() if each != native}
    removed: Sequence[str] = wish.removed
    if native in definition.symbols.values() and native not in removed:
        removed = (*removed, native)
    return replace(wish, added=added, removed=tuple(removed))
