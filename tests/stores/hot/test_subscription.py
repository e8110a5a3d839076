"""A subscription's steps: what it hears, when it connects again, and what it logs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from stores.hot.redis_client import NativeStore
from stores.hot.store import StoreRefused, StoreUnavailable
from stores.hot.subscription import Subscription


class Listened:
    """A store whose connections hear the prepared messages in turn; an exception ends one."""

    def __init__(self, *connections: list[Any]) -> None:
        self.connections = list(connections)
        self.channels: list[str] = []

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        self.channels.append(channel)
        heard = self.connections.pop(0)
        if isinstance(heard[0], Exception):
            raise heard[0]
        yield self._messages(heard)

    async def _messages(self, heard: list[Any]) -> AsyncIterator[bytes]:
        for message in heard:
            if isinstance(message, Exception):
                raise message
            if callable(message):
                message()
            else:
                yield message


class Run:
    """A subscription over these connections, until its pauses are over; time goes when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[Any] = []
        self.pauses: list[float] = []
        self.live: list[bool] = []
        self.store = Listened()
        self.now = 100.0
        self.over = asyncio.Event()
        self.subscription = Subscription(
            cast(NativeStore, self.store), "p:news", self.hear, self.connected
        )
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)
        monkeypatch.setattr("stores.hot.subscription.asyncio.sleep", self._sleep)

    def hear(self, message: bytes) -> None:
        self.live.append(self.subscription.live)
        self.heard.append(message)

    def connected(self) -> None:
        self.live.append(self.subscription.live)
        self.heard.append("(connected)")

    def pass_time(self, seconds: float) -> Any:
        def go() -> None:
            self.now += seconds

        return go

    async def _sleep(self, pause_s: float) -> None:
        assert not self.subscription.live
        self.pauses.append(pause_s)
        if not self.store.connections:
            self.over.set()
            await asyncio.Event().wait()

    async def go(self, *connections: list[Any]) -> list[Any]:
        self.store.connections = list(connections)
        with capture_logs() as logs:
            self.subscription.start()
            self.subscription.start()
            await self.over.wait()
            await self.subscription.aclose()
        return logs


@pytest.fixture
async def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(monkeypatch)


AWAY = StoreUnavailable("redis: away")


async def test_it_hears_every_message_and_connects_again(run: Run) -> None:
    assert not run.subscription.live
    logs = await run.go([b"one", b"two", AWAY], [b"three", AWAY])
    assert run.heard == ["(connected)", b"one", b"two", "(connected)", b"three"]
    assert run.live == [True] * 5 and run.store.channels == ["p:news"] * 2
    assert run.pauses == [0.05, 0.1] and not run.subscription.live
    told = [(line["event"], line["channel"]) for line in logs]
    events = ("subscription_lost", "subscription_restored", "subscription_lost")
    assert told == [(event, "p:news") for event in events]


async def test_the_pauses_grow_up_to_a_second(run: Run) -> None:
    await run.go(*([AWAY] for _ in range(7)))
    assert run.pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert run.heard == []


@pytest.mark.parametrize(("lasted_s", "pause_s"), [(5.0, 0.2), (5.1, 0.05)])
async def test_after_a_steady_connection_they_begin_anew(
    run: Run, lasted_s: float, pause_s: float
) -> None:
    await run.go([AWAY], [AWAY], [run.pass_time(lasted_s), AWAY])
    assert run.pauses == [0.05, 0.1, pause_s]


@pytest.mark.parametrize(
    ("error", "pause_s"),
    [(StoreRefused("no", "NOPERM"), 60.0), (StoreRefused("no", "LOADING"), 0.05), (AWAY, 0.05)],
)
async def test_a_user_who_may_not_is_not_tried_again_soon(
    run: Run, error: Exception, pause_s: float
) -> None:
    await run.go([error])
    assert run.pauses == [pause_s]


async def test_after_such_a_pause_others_are_short_again(run: Run) -> None:
    await run.go([StoreRefused("no", "NOPERM")], [AWAY])
    assert run.pauses == [60.0, 0.05]


async def test_closing_ends_it_and_one_that_never_began_is_closed_too(run: Run) -> None:
    await run.subscription.aclose()
    run.store.connections = [[b"one", AWAY]]
    run.subscription.start()
    task = run.subscription._task
    assert task is not None and task.get_name() == "listen p:news"
    await run.over.wait()
    await run.subscription.aclose()
    assert task.cancelled()
