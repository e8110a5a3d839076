"""CallingThread: a thread of its own in which one plain callback is called, batch by batch."""

import asyncio
import contextlib
import inspect
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Called:
    """What came of a batch: how many calls returned, the errors of the others, and the awaitables
    that plain functions returned, which only the event loop can await."""

    returned: int = 0
    errors: list[BaseException] = field(default_factory=list)
    awaitables: list[Any] = field(default_factory=list)


class CallingThread:
    """Calls a function in a daemon thread, which ends with `close` or with the program.

    A function that never returns holds up its own thread alone, and no exit of the program.
    """

    def __init__(self, function: Callable[[Any], Any], name: str) -> None:
        self._function = function
        self._name = name
        self._batches: queue.SimpleQueue[tuple[Sequence[Any], asyncio.Future[Called]] | None]
        self._batches = queue.SimpleQueue()
        self._closing = False
        self._thread: threading.Thread | None = None

    def call(self, batch: Sequence[Any]) -> "asyncio.Future[Called]":
        """Calls the function with each item, in order; the future is the running event loop's."""
        future: asyncio.Future[Called] = asyncio.get_running_loop().create_future()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._batches.put((batch, future))
        return future

    def close(self) -> None:
        """The thread ends after the call in hand; what is left of the batch is not called."""
        self._closing = True
        self._batches.put(None)

    def _work(self) -> None:
        while (taken := self._batches.get()) is not None:
            batch, future = taken
            called = Called()
            for item in batch:
                if self._closing:
                    return
                self._call(item, called)
            # The loop may have been closed meanwhile; then nobody waits for the result.
            with contextlib.suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(_set, future, called)

    def _call(self, item: Any, called: Called) -> None:
        try:
            result = self._function(item)
        except BaseException as error:  # SystemExit, too, would end the thread unseen
            called.errors.append(error)
            return
        if inspect.isawaitable(result):
            called.awaitables.append(result)
        else:
            called.returned += 1


def _set(future: "asyncio.Future[Called]", called: Called) -> None:
    if not future.done():
        future.set_result(called)
