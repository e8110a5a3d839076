"""Delivery: hands each point to the callbacks, and no callback holds up another or the stream.

Every callback has a bounded queue of its own. A coroutine function runs on the event loop. A plain
function runs in a thread of its own, where it may block: what belongs to the event loop, such as
the `put_nowait` of an asyncio queue, must not be used there but from a coroutine function. Bound
methods of asyncio's own classes are called on the loop.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from live.call_deadline import CallDeadline
from live.calling_thread import CallingThread
from live.data_types import MarketDataPoint
from live.user_calls import UserCalls

Callback = Callable[[MarketDataPoint], Any]
# (what: "callback" or "callback_timeout", text) for each failed call
OnError = Callable[[str, str], None]

QUEUE_LENGTH: Final = 10_000  # points; some 10 MB for a callback that has stopped taking them
DEADLINE_S: Final = 10.0  # of one call of a coroutine function, and of one batch in a thread
_BATCH: Final = 256
# More than a message loop reads in one turn of the event loop, so that a quick callback keeps up.
_YIELD_EVERY: Final = 128
_CANCEL_S: Final = 2.0


class Delivery:
    """The callbacks of one collector with their queues; their tasks run from `offer` to `close`."""

    def __init__(
        self,
        on_error: OnError,
        name: str,
        *,
        queue_length: int = QUEUE_LENGTH,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._on_error = on_error
        self._name = name
        self._queue_length = queue_length
        self._deadline_s = deadline_s
        self._calls = UserCalls(_CANCEL_S)
        self._queues: dict[object, CallbackQueue] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._before = 0  # dropped by queues that are gone

    def offer(self, callback: Callback, point: MarketDataPoint) -> None:
        """Queues the point; if the queue is full, its oldest point is dropped and counted."""
        key = key_of(callback)
        found = self._queues.get(key)
        if found is None or found.task.done():  # its event loop has ended
            self._before += found.dropped + found.waiting if found is not None else 0
            found = CallbackQueue(callback, self)
            self._queues[key] = found
        found.put(point)

    def forget(self, callback: Callback) -> None:
        """Ends the callback's queue; what is in it is not delivered any more."""
        found = self._queues.pop(key_of(callback), None)
        if found is not None:
            self._before += found.dropped
            found.close()
            self._leaving.add(found.task)
            found.task.add_done_callback(self._leaving.discard)

    @property
    def dropped(self) -> int:
        return self._before + sum(found.dropped for found in self._queues.values())

    @property
    def queued(self) -> int:
        """The points that wait or are in hand."""
        return sum(found.waiting for found in tuple(self._queues.values()))

    @property
    def stuck(self) -> int:
        """The calls that ignored their end, and go on."""
        hung = sum(found.hangs for found in tuple(self._queues.values()))
        return len(self._calls.set_aside) + hung

    async def flush(self, within_s: float, besides: "asyncio.Task[Any] | None" = None) -> bool:
        """Waits until all points are delivered; returns whether they were in this time.

        `besides`: a callback whose task this is waits for us itself, and is not waited for.
        """
        busy = {
            asyncio.ensure_future(found.idle.wait())
            for found in self._queues.values()
            if found.waiting and (besides is None or found.task is not besides)
        }
        if not busy:
            return True
        try:
            _, left = await asyncio.wait(busy, timeout=within_s)
        finally:
            for waiting in busy:
                waiting.cancel()
            await asyncio.gather(*busy, return_exceptions=True)
        return not left

    async def close(self) -> None:
        """Ends every queue and its task. What is not delivered counts as dropped."""
        queues = tuple(self._queues.values())
        self._queues.clear()
        for found in queues:
            self._before += found.dropped + found.waiting
            found.close()
        await self._calls.end([*(found.task for found in queues), *self._leaving])


class CallbackQueue:
    """The points that one callback has not been given yet, and the task that gives them."""

    def __init__(self, callback: Callback, delivery: Delivery) -> None:
        self._callback = callback
        self._delivery = delivery
        self._thread = None if runs_on_the_loop(callback) else self._new_thread()
        self._filled = asyncio.Event()
        self._in_hand = 0
        self.points: deque[MarketDataPoint] = deque()
        self.idle = asyncio.Event()
        self.idle.set()
        self.dropped = 0
        self.hangs = 0  # 1 while a plain function is over its deadline
        self.task = asyncio.create_task(self._work(), name=f"callback of {delivery._name}")
        self._deadline = CallDeadline(self.task, delivery._deadline_s)

    @property
    def waiting(self) -> int:
        return len(self.points) + self._in_hand

    def put(self, point: MarketDataPoint) -> None:
        if len(self.points) >= self._delivery._queue_length:
            self.points.popleft()
            self.dropped += 1
        self.points.append(point)
        self._filled.set()
        self.idle.clear()

    def close(self) -> None:
        self.points.clear()
        self.idle.set()
        if self._thread is not None:  # at once: the task may not have begun
            self._thread.close()
        self.task.cancel()

    async def _work(self) -> None:
        try:
            await self._give_all()
        finally:
            self._deadline.close()
            self.idle.set()
            if self._thread is not None:
                self._thread.close()

    async def _give_all(self) -> None:
        rounds = 0
        while True:
            await self._filled.wait()
            while self.points:
                if self._thread is None:
                    self._in_hand = 1
                    await self._call(self._callback, self.points.popleft())
                else:
                    await self._call_in_thread(self._thread)
                self._in_hand = 0
                if self.task.cancelling():  # the callback took no notice of it
                    return
                rounds += 1
                if rounds % _YIELD_EVERY == 0:  # the callback may never wait
                    await asyncio.sleep(0)
            self._filled.clear()
            self.idle.set()

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """One call on the loop; one that takes too long is cancelled."""
        failure: BaseException | None = None
        self._deadline.begin()
        try:
            result = function(*arguments)
            if result is not None and inspect.isawaitable(result):
                await result
        except (Exception, asyncio.CancelledError) as error:
            failure = error
        took_too_long = self._deadline.end()
        if isinstance(failure, asyncio.CancelledError) and self.task.cancelling():
            raise failure
        if took_too_long:
            self._too_long()
        elif failure is not None:  # perhaps something that the callback awaited was cancelled
            self._failed(failure)

    async def _call_in_thread(self, thread: CallingThread) -> None:
        size = min(_BATCH, len(self.points))
        batch = [self.points.popleft() for _ in range(size)]
        self._in_hand = size
        future = thread.call(batch)
        while not future.done():
            await asyncio.wait({future}, timeout=self._delivery._deadline_s)
            if not future.done():
                self.hangs = 1
                self._too_long()
        self.hangs = 0
        called = future.result()
        for error in called.errors:
            self._failed(error)
        for awaitable in called.awaitables:
            await self._call(_given, awaitable)

    def _too_long(self) -> None:
        self._delivery._on_error(
            "callback_timeout",
            f"callback {name_of(self._callback)} took more than {self._delivery._deadline_s:g} s",
        )

    def _failed(self, error: BaseException) -> None:
        self._delivery._on_error(
            "callback", f"callback {name_of(self._callback)}: {type(error).__name__}: {error}"
        )

    def _new_thread(self) -> CallingThread:
        return CallingThread(self._callback, f"callback of {self._delivery._name}")


def _given(awaitable: Any) -> Any:
    return awaitable


def key_of(callback: Callback) -> object:
    """What tells callbacks apart: equal ones are one, such as two bound methods of one object."""
    try:
        hash(callback)
    except TypeError:
        return id(callback)
    return callback


def name_of(callback: Callback) -> str:
    name = getattr(callback, "__qualname__", None)
    return name if isinstance(name, str) else type(callback).__qualname__


def runs_on_the_loop(callback: Callback) -> bool:
    """Whether the callback is a coroutine function, or a method of asyncio's own objects."""
    if inspect.iscoroutinefunction(callback):
        return True
    if inspect.iscoroutinefunction(getattr(callback, "__call__", None)):  # noqa: B004 - not whether
        return True
    owner = type(getattr(callback, "__self__", None))
    return owner.__module__.partition(".")[0] == "asyncio"
