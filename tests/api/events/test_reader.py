"""The reader of the log, where the log is lost again and again."""

from collections.abc import Mapping, Sequence

import pytest

from api.events.reader import EventReader
from api.events.told import Told
from stores.hot import event_log
from stores.hot.event_log import LOG, EventLog, Position, Reading
from stores.hot.store import HotStore
from tests.fixtures.signals import until, until_true


async def add(store: HotStore, count: int) -> None:
    for run in range(count):
        states = ("job", f"{store.prefix}job:funding", "run", str(run), "state", "queued")
        await store.execute("XADD", LOG, "*", "kind", "job", *states)


async def lose_all(store: HotStore) -> None:
    """Not within the millisecond of an entry: the next one would have its id."""

    async def now() -> tuple[int, int]:
        seconds, microseconds = await store.execute("TIME")
        return int(seconds), int(microseconds) // 1000

    began = await now()

    async def is_later() -> bool:
        return await now() > began

    await until(is_later)
    await store.execute("DEL", LOG)


async def test_a_log_that_is_lost_again_while_it_is_read_is_told_to_be_lost(
    store: HotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "READ_AT_ONCE", 2)
    told: list[Told] = []

    def take(batch: Sequence[Told]) -> None:
        told.extend(batch)

    reader = EventReader(store, poll_s=0.05, is_wanted=lambda: True, on_batch=take)
    await add(store, 1)
    await reader.make_ready(None)
    read, gaps = EventLog.read, 0

    async def lose(
        log: EventLog, position: Position | None, versions: Mapping[str, str]
    ) -> Reading:
        nonlocal gaps
        found = await read(log, position, versions)
        if found.is_gap and (gaps := gaps + 1) == 1:
            await lose_all(store)
            await add(store, 3)
        return found

    monkeypatch.setattr(EventLog, "read", lose)
    await lose_all(store)
    await add(store, 3)
    reader.follow()
    try:
        await until_true(lambda: told)
    finally:
        await reader.aclose()
    assert gaps == 2
    assert [each.kind for each in told] == ["reset"]
