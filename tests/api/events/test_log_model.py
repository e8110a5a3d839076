"""Drawn histories of the log against a naive list: every listener is told exactly what is in it."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import redis
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from api.events import broadcast
from config import Settings
from tests.api.events.streams import Event, Stream, listening
from tests.api.events.test_stream import publish
from tests.fixtures.api import NO_DATABASE, ServedApi, served

JOBS: Final = ("collect:4h", "funding", "discovery")
NAMES: Final = ("5m", "4h")
RESET: Final = ("reset",)
FILTERS: Final[dict[str, set[str]]] = {
    "event=job": {"job"},
    "event=document": {*NAMES},
    "event=document&timeframe=4h": {"4h"},
    "event=job,document": {"job", *NAMES},
}
Told = tuple[Any, ...]

_step = st.one_of(
    st.tuples(st.just("job"), st.sampled_from(JOBS)),
    st.tuples(st.just("publish"), st.sampled_from(NAMES)),
    st.tuples(st.just("trim"), st.integers(1, 4)),
    st.tuples(st.just("lose")),
    st.tuples(st.just("join"), st.integers(0, 1), st.sampled_from([*FILTERS])),
    # Which listener, how many of the events that it still gets, and where it goes on.
    st.tuples(st.just("return"), st.integers(0, 9), st.integers(0, 5), st.integers(0, 1)),
)


@dataclass
class Client:
    """A listener, what it is to be told, and how much of that has come.

    `place`: which log its last id is of, and how many entries that had then; None without an id.
    `joined_at`: the same for the beginning of its stream.
    """

    query: str
    stream: Stream
    closing: AsyncExitStack
    place: tuple[int, int] | None
    joined_at: tuple[int, int] | None
    expected: list[Told] = field(default_factory=list)
    got: int = 0


@dataclass
class History:
    """The naive log: everything told so far, and how much of that is no longer there.

    The first client of each process wants everything, and stays: once all is told to it, the
    process has read all.
    """

    processes: list[ServedApi]
    log: list[Told] = field(default_factory=list)
    first: int = 0
    lives: int = 0
    clients: list[Client] = field(default_factory=list)
    witnesses: dict[int, Client] = field(default_factory=dict)
    states: dict[str, tuple[int, str]] = field(default_factory=dict)
    version: int = 0

    def tell(self, *told: Any) -> None:
        self.log.append(told)
        for client in self.everybody():
            if self._wants(client.query, told):
                client.expected.append(told)

    def everybody(self) -> list[Client]:
        return [*self.clients, *self.witnesses.values()]

    async def join(self, process: int, query: str, last: Client | None = None) -> None:
        if process not in self.witnesses:
            self.witnesses[process] = await self._joined(process, "event=job,document", "")
        last_id = last.stream.last_id if last is not None else ""
        if last_id:
            witness = self.witnesses[process]
            await self.read(witness, len(witness.expected) - witness.got)
        client = await self._joined(process, query, last_id)
        self.clients.append(client)
        if last is None or not last_id:
            return
        assert last.place is not None
        rest, (life, entries) = last.expected[last.got :], last.place
        client.place = last.place
        client.expected = [*rest] if life == self.lives else [RESET]
        if life == self.lives and entries <= self.first:
            # The entry is gone; a process that followed the log may still know it.
            await do(self, "publish", "4h")
            await do(self, "job", JOBS[0])
            event = await client.stream.next()
            if event.kind == "reset":
                client.expected = [RESET, *client.expected[len(rest) :]]
            self._got(client, event)

    async def _joined(self, process: int, query: str, last_id: str) -> Client:
        closing = AsyncExitStack()
        stream = await closing.enter_async_context(
            listening(self.processes[process].port, query, last_id)
        )
        place = (self.lives, len(self.log)) if self.first < len(self.log) else None
        client = Client(query, stream, closing, place, place)
        if not last_id:
            # It begins where the process is, which may not have read what has just been told.
            unread = await self._entries_after(process, stream.last_id)
            told = len(self.log) - unread
            client.place = client.joined_at = (self.lives, told) if stream.last_id else None
            client.expected = [t for t in self.log[told:] if self._wants(query, t)]
        return client

    async def _entries_after(self, process: int, last_id: str) -> int:
        script = "return #redis.call('XRANGE', KEYS[1], ARGV[1], '+')"
        after = f"({last_id}" if last_id else "-"
        store = self.processes[process].store
        return int(await store.execute("EVAL", script, 1, "events", after))

    def _wants(self, query: str, told: Told) -> bool:
        return (told[1] if told[0] == "document" else told[0]) in FILTERS[query]

    async def read(self, client: Client, count: int) -> None:
        """Reads so many events, which are those that are expected."""
        for _ in range(count):
            self._got(client, await client.stream.next())

    def _got(self, client: Client, event: Event) -> None:
        told = told_by(event)
        assert told == client.expected[client.got], (client.query, self.log)
        client.got += 1
        if told == RESET:
            client.place = client.joined_at or client.place if client.got == 1 else client.place
        else:
            entry = max(i for i, each in enumerate(self.log) if each == told)
            client.place = self.lives, entry + 1

    async def settle(self) -> None:
        for client in self.everybody():
            await self.read(client, len(client.expected) - client.got)


def told_by(event: Event) -> Told:
    data = event.data
    match event.kind:
        case "job":
            return ("job", data["id"], data["run"], data["state"])
        case "document":
            return ("document", data["name"], data["version"])
        case _:
            return (event.kind,)


async def _live_through(steps: list[tuple[Any, ...]], redis_url: str) -> None:
    """Without comments, which bring ids of their own."""
    given: dict[str, Any] = {"redis_url": redis_url, "upstash_poll_s": 0.1}
    own = Settings(**given)
    async with AsyncExitStack() as stack:
        apis = [
            await stack.enter_async_context(served(own, own, NO_DATABASE, 100, None))
            for _ in range(2)
        ]
        history = History(apis)
        try:
            for step in steps:
                await do(history, *step)
            await do(history, "publish", "4h")
            await do(history, "job", JOBS[0])
            await history.settle()
        finally:
            for client in history.everybody():
                await client.closing.aclose()


async def do(history: History, action: str, *given: Any) -> None:
    api = history.processes[0]
    match action:
        case "job":
            (job,) = given
            run, state = history.states.get(job, (0, ""))
            if state == "queued":
                await api.queue.abort(job)
                history.states[job] = run, "aborted"
            else:
                await api.queue.request(job)
                history.states[job] = run + 1, "queued"
            history.tell("job", job, *history.states[job])
        case "publish":
            (name,) = given
            history.version += 1
            await publish(api, history.version, None, name)
            history.tell("document", name, history.version)
        case "trim":
            await history.settle()
            trim = "redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[1])"
            await api.store.execute("EVAL", trim, 1, "events", given[0])
            history.first = max(history.first, len(history.log) - given[0])
        case "lose":
            await history.settle()
            was_empty = history.first == len(history.log)
            await api.store.execute("EVAL", "redis.call('FLUSHALL')", 0)
            history.lives += 1
            history.first = len(history.log)
            history.states.clear()
            for client in history.everybody() if not was_empty else ():
                client.expected.append(RESET)
            await history.settle()
        case "join":
            await history.join(*given)
        case "return" if history.clients:
            which, count, process = given
            client = history.clients.pop(which % len(history.clients))
            await history.read(client, min(count, len(client.expected) - client.got))
            await client.closing.aclose()
            await history.join(process, client.query, client)


# The entry that a listener has last is gone where it comes back: all since then is told after it.
@example(
    steps=[
        ("join", 0, "event=job"),
        ("job", "funding"),
        ("publish", "5m"),
        ("publish", "5m"),
        ("trim", 1),
        ("return", 0, 0, 1),
    ]
)
@given(steps=st.lists(_step, min_size=5, max_size=25))
@settings(
    max_examples=10,
    deadline=None,
    # An event that does not come takes 20 s to miss, too long for shrinking.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_each_listener_is_told_what_is_in_the_log(
    steps: list[tuple[Any, ...]], redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broadcast, "BEAT_S", 3600.0)
        asyncio.run(_live_through(steps, redis_url))
