"""Simulated bots in a process of their own: connections that poll at a pace, or follow events.

`python -m benchmarks.bot_load`: the plan comes by standard input, what the bots got is printed at
the end, both as JSON. A poll that is due while the answer before it is still coming waits; its
time counts from when it was due.
"""

import asyncio
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import msgspec
import uvloop

from benchmarks.machine import ROOT, pinned
from commands.open_files import raise_open_file_limit

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_ETAG: Final = re.compile(rb"\r\netag: *(\S+)", re.I)
_AT_ONCE: Final = 50  # bots that begin together
_LOOK_EVERY_S: Final = 0.02
_LAST_S: Final = 30.0  # for answers that are still coming at the end


class Kind(msgspec.Struct, frozen=True):
    """Bots of one kind. `paths` go round; `every_s` 0: ask again as soon as there is an answer;
    None: follow the stream. `validated`: send the last ETag. `etag`: begin with it. `anew`: each
    question is another address for the same rows, by a `since` before all of them."""

    name: str
    bots: int
    paths: Sequence[str]
    every_s: float | None
    validated: bool = True
    etag: str = ""
    anew: bool = False


class Plan(msgspec.Struct, frozen=True):
    """What all bots do for so long, or until they have got so many events."""

    port: int
    seconds: float
    kinds: Sequence[Kind]
    events: int | None = None


class Told(msgspec.Struct, frozen=True):
    """What bots of one kind got. `times_ms`: the quantiles 50 and 99 of a poll's time, of all and
    of answers with a body; None without any. `received`: bytes, heads included."""

    answers: int
    bodies: int
    refused: int
    received: int
    events: int
    all_ms: tuple[float, float] | None
    bodies_ms: tuple[float, float] | None


Report = dict[str, Told]


@dataclass(slots=True)
class _Counts:
    """What bots of one kind got so far."""

    kind: Kind
    times_s: list[float] = field(default_factory=list)
    body_times_s: list[float] = field(default_factory=list)
    refused: int = 0
    received: int = 0
    events: int = 0
    asked: int = 0

    def told(self) -> Told:
        return Told(
            answers=len(self.times_s),
            bodies=len(self.body_times_s),
            refused=self.refused,
            received=self.received,
            events=self.events,
            all_ms=_quantiles_ms(self.times_s),
            bodies_ms=_quantiles_ms(self.body_times_s),
        )


def _quantiles_ms(times_s: list[float]) -> tuple[float, float] | None:
    if not times_s:
        return None
    ordered = sorted(times_s)
    half, most = (ordered[int(part * (len(ordered) - 1))] for part in (0.5, 0.99))
    return half * 1000, most * 1000


class _Connection(asyncio.Protocol):
    """One bot's connection."""

    def __init__(self, counts: _Counts, number: int) -> None:
        self._counts = counts
        self._path = counts.kind.paths[number % len(counts.kind.paths)]
        self._etag = counts.kind.etag
        self._loop = asyncio.get_running_loop()
        self._head = b""
        self._status = 0
        self._left = -1  # bytes of the body that are still to come; -1: none is asked for
        self._due_s: float | None = None  # of the poll that is under way
        self._ended = False
        self.done = asyncio.Event()  # no answer is under way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.done.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended:
            self._counts.refused += 1
        self._ended = True
        self.done.set()

    def begin(self, after_s: float) -> None:
        """Sends the first request so much later."""
        self._loop.call_later(after_s, self._ask, time.perf_counter() + after_s)

    def end(self) -> None:
        """Asks no more."""
        self._ended = True
        if self._counts.kind.every_s is None:
            self.done.set()

    def close(self) -> None:
        self._ended = True
        self._transport.abort()

    def _ask(self, due_s: float) -> None:
        if self._ended:
            return
        self._due_s, self._head, self._left = due_s, b"", 0
        self._counts.asked += 1
        since = f"&since={self._counts.asked}" if self._counts.kind.anew else ""
        known = f"If-None-Match: {self._etag}\r\n" if self._etag else ""
        self._transport.write(
            f"GET {self._path}{since} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: deflate\r\n"
            f"{known}\r\n".encode()
        )
        self.done.clear()

    def data_received(self, data: bytes) -> None:
        self._counts.received += len(data)
        if self._counts.kind.every_s is None:
            self._counts.events += data.count(b"\nevent: ") + data.startswith(b"event: ")
            return
        if self._due_s is None:
            return
        if not self._left:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._read_head(head)
        self._left -= len(data)
        if self._left <= 0:
            self._answered()

    def _read_head(self, head: bytes) -> None:
        self._status = int(head[9:12])
        length, etag = _LENGTH.search(head), _ETAG.search(head)
        self._left = int(length[1]) if length and self._status != 304 else 0
        if self._counts.kind.validated and etag:
            self._etag = etag[1].decode()

    def _answered(self) -> None:
        assert self._due_s is not None  # noqa: S101 - an answer is to a request
        now_s = time.perf_counter()
        if self._status in (200, 304):
            self._counts.times_s.append(now_s - self._due_s)
            if self._status == 200:
                self._counts.body_times_s.append(now_s - self._due_s)
        else:
            self._counts.refused += 1
        due_s = self._due_s + (self._counts.kind.every_s or 0.0)
        self._due_s, self._left = None, 0
        self.done.set()
        if self._counts.kind.every_s:
            self._loop.call_later(max(0.0, due_s - now_s), self._ask, due_s)
        else:
            self._loop.call_soon(self._ask, now_s)


async def load(plan: Plan) -> Report:
    """Runs the bots of a plan in this process."""
    counts = [_Counts(kind) for kind in plan.kinds]
    loop = asyncio.get_running_loop()
    bots: list[_Connection] = []
    wanted = [(each, number) for each in counts for number in range(each.kind.bots)]
    for first in range(0, len(wanted), _AT_ONCE):
        for each, number in wanted[first : first + _AT_ONCE]:
            _, bot = await loop.create_connection(
                lambda each=each, number=number: _Connection(each, number),  # type: ignore[misc]
                "127.0.0.1",
                plan.port,
            )
            # Spread over the pace, as bots that know nothing of each other are.
            bot.begin((each.kind.every_s or 0.0) * number / each.kind.bots)
            bots.append(bot)
    until_s = time.perf_counter() + plan.seconds
    while (left_s := until_s - time.perf_counter()) > 0:
        if plan.events is not None and sum(each.events for each in counts) >= plan.events:
            break
        await asyncio.sleep(left_s if plan.events is None else _LOOK_EVERY_S)
    for bot in bots:
        bot.end()
    try:
        async with asyncio.timeout(_LAST_S):
            for bot in bots:
                await bot.done.wait()
    finally:
        for bot in bots:
            bot.close()
    return {each.kind.name: each.told() for each in counts}


async def run_bots(plan: Plan, cores: Sequence[int]) -> Report:
    """Runs the bots of a plan in a process of their own. Raises RuntimeError if it fails."""
    command = pinned([sys.executable, "-m", "benchmarks.bot_load"], cores)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT
    )
    try:
        async with asyncio.timeout(plan.seconds + 3 * _LAST_S):
            output, errors = await process.communicate(msgspec.json.encode(plan))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"the bots ended {process.returncode}: {errors.decode()[-2000:]}")
    return msgspec.json.decode(output, type=Report)


def main() -> int:
    raise_open_file_limit()
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(load(plan))
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
