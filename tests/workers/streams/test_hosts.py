"""Two hosts in processes of their own: shares, a kill, an end, a freeze; never two that publish."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from database import Database
from stores.hot.store import HotStore
from tests.fixtures.signals import until
from tests.workers.streams.hosting import put_row
from tests.workers.streams.source import Source, serving
from workers.state import worker_states
from workers.streams.published import read_published

ROOT: Final = Path(__file__).resolve().parents[3]
NAMES: Final = [f"stream{number}" for number in range(8)]
StartHost = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
async def numbers() -> AsyncIterator[Source]:
    """A source that sends numbers, ten a second, over each WebSocket."""
    async with serving(Source(every_s=0.1)) as found:
        yield found


@pytest.fixture
async def rows(database: Database, database_url: str) -> None:
    for name in NAMES:
        await put_row(database_url, name)


@pytest.fixture
def start_host(
    redis_url: str, database_url: str, numbers: Source, tmp_path: Path, request: Any, rows: None
) -> Iterator[StartHost]:
    started: list[subprocess.Popen[bytes]] = []
    environment = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
    times = "real" if request.node.get_closest_marker("slow") else "quick"

    def start(host: str) -> subprocess.Popen[bytes]:
        arguments = [host, str(len(NAMES)), numbers.url, times]
        with (tmp_path / f"{host}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own arguments
                [sys.executable, "-m", "tests.workers.streams.host_process", *arguments],
                cwd=ROOT, env=os.environ | environment, stdout=log, stderr=log,
            )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(10)


async def shares(store: HotStore) -> Counter[str]:
    """How many workers each host holds."""
    states = await worker_states(store, NAMES)
    return Counter(state.stream.holder for state in states.values() if state.stream)


async def until_held(store: HotStore, *hosts: str) -> Counter[str]:
    """Waits until all workers are held, by these hosts alone and each of them."""

    async def look() -> Counter[str] | None:
        found = await shares(store)
        return found if found.total() == len(NAMES) and found.keys() == set(hosts) else None

    return await until(look, 120)


async def until_fair(store: HotStore, *hosts: str) -> Counter[str]:
    """Waits until all workers are held, and no host has two more than another."""

    async def look() -> Counter[str] | None:
        found = await until_held(store, *hosts)
        return found if max(found.values()) - min(found.values()) <= 1 else None

    return await until(look, 120)


async def until_all_publish_again(store: HotStore, host: str) -> None:
    """Waits until the last value of each worker is of this host."""

    async def look() -> bool:
        latest = [(await read_published(store, name)).latest for name in NAMES]
        return all(value is not None and value.value["host"] == host for value in latest)

    await until(look)


async def check_published(store: HotStore) -> None:
    """What all hosts together have published, as it stands in the store: one holding after another,
    each value once and in its order."""
    for name in NAMES:
        values = (await read_published(store, name, count=1000)).values
        assert values, name
        tokens = [value.token for value in values]
        assert tokens == sorted(tokens), f"{name}: two holdings publish at once"
        for before, after in pairwise(values):
            same = before.token == after.token
            assert after.number == (before.number + 1 if same else 1), name
            assert not same or before.value["host"] == after.value["host"], name


async def through_faults(store: HotStore, start_host: StartHost) -> dict[str, float]:
    """The seconds after which each fault is over."""
    took: dict[str, float] = {}
    one, two = start_host("one:1"), start_host("two:2")
    spread = await until_fair(store, "one:1", "two:2")
    assert spread == {"one:1": 4, "two:2": 4}

    begun = time.monotonic()
    one.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(one.wait, 30) == 0
    await until_held(store, "two:2")
    took["ended"] = time.monotonic() - begun
    await until_all_publish_again(store, "two:2")

    one = start_host("three:3")
    # Workers are given to the emptier host one after another; then it freezes.
    await until_fair(store, "two:2", "three:3")
    begun = time.monotonic()
    one.send_signal(signal.SIGSTOP)
    await until_held(store, "two:2")
    took["frozen"] = time.monotonic() - begun
    await until_all_publish_again(store, "two:2")
    one.send_signal(signal.SIGCONT)  # it wakes, with messages in its sockets
    await until_fair(store, "two:2", "three:3")  # given to it anew: it knows that it lost them

    begun = time.monotonic()
    two.kill()
    await until_held(store, "three:3")
    took["killed"] = time.monotonic() - begun
    await until_all_publish_again(store, "three:3")
    await check_published(store)
    return took


async def test_hosts_share_workers_through_ends_freezes_and_kills(
    store: HotStore, start_host: StartHost
) -> None:
    """Leases end after 3 s here, so that the test is short."""
    await through_faults(store, start_host)


@pytest.mark.slow
async def test_workers_are_taken_over_within_20_s(
    store: HotStore, start_host: StartHost, record_property: Callable[[str, object], None]
) -> None:
    took = await through_faults(store, start_host)
    for fault, seconds in took.items():
        record_property(fault, seconds)
    print(took)  # noqa: T201 - for who measures it
    assert took["frozen"] <= 20 and took["killed"] <= 20
    assert took["ended"] <= 5
