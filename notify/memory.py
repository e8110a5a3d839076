"""The watcher's record of problems: in memory, and in the hot store for the next holder.

Holders may be of two releases. What one of a later release has written of problems that this one
does not know is neither told nor removed: it is for the next holder that knows them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from notify.decisions import of_store_away
from notify.record import Known, Record, decode_known, encode_known, is_of_others
from status.seen import read_seen, write_seen
from stores.hot.leases import Lease
from stores.hot.store import HotStore


@dataclass(slots=True)
class Memory:
    """`record`: what this process knows; `stored`: what the hot store is known to hold of it, by
    id; `token`: of the lease under which that was read."""

    store: HotStore
    record: Record = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)
    token: int | None = None  # None: nothing was read yet

    @property
    def is_loaded(self) -> bool:
        return self.token is not None

    @property
    def is_stand_in(self) -> bool:
        """Whether it knows nothing of what the last holder has told."""
        return self.token == 0

    def stand_in(self) -> None:
        """This process tells from now on, in place of the last holder, while the store is away."""
        self.token = 0  # before all tokens of leases

    async def load(self, lease: Lease) -> None:
        """Reads what the holder before has left. Raises StoreUnavailable.

        Nobody held the lease since we did, or it is the same one: ours is newer. Its tokens begin
        anew: the store has lost its data, and what we know is added to it. Else another has told
        what we do not know of, and only of the store that was away from here nobody else knows.
        """
        found = await read_seen(self.store)
        decoded = {id_: decode_known(value) for id_, value in found.items()}
        stored: Record = {id_: known for id_, known in decoded.items() if known is not None}
        if self.token is None:
            record = stored
        elif self.is_stand_in:
            record = {**of_store_away(self.record), **stored}
        elif lease.token in (self.token, self.token + 1):
            record = self.record
        elif lease.token < self.token:
            record = {**self.record, **stored}
        else:
            record = {**of_store_away(self.record), **stored}
        self.record = record
        self.stored = {
            id_: value.decode(errors="replace")
            for id_, value in found.items()
            if id_ in stored or not is_of_others(value)
        }
        self.token = lease.token

    async def save(self, lease: Lease) -> None:
        """Writes what has changed. Raises StoreUnavailable, and LeaseLost."""
        wanted = {
            id_: encode_known(self._as_stored(id_, known)) for id_, known in self.record.items()
        }
        changed = {id_: text for id_, text in wanted.items() if self.stored.get(id_) != text}
        removed = [id_ for id_ in self.stored if id_ not in wanted]
        if changed or removed:
            await write_seen(self.store, lease, changed, removed)
            self.stored = wanted

    def _as_stored(self, id_: str, known: Known) -> Known:
        """With the words of before if nothing else has changed: numbers in them change with every
        look, and each write costs a command."""
        before = decode_known(self.stored.get(id_, "").encode())
        if before is None or _without_words(before) != _without_words(known):
            return known
        return before


def _without_words(known: Known) -> Iterable[object]:
    problem = known.problem
    return (
        *(problem.severity, known.first_ms, known.begun_ms),
        *(known.told, known.again_ms, known.over_ms),
    )
