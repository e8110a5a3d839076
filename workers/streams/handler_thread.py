"""HandlerThread: a thread of its own in which a worker's plain functions are called, one by one."""

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any

_Call = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class HandlerThread:
    """Calls functions in a daemon thread, which ends with `close` or with the program.

    A function that never returns holds up its own worker alone, and no exit of the program.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's result, or what it raises. If the caller is cancelled, the function ends
        by itself, and what comes of it is dropped."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        context = contextvars.copy_context()  # the worker's name on its lines of the log
        self._calls.put((lambda: context.run(function, *arguments), future))
        return await future

    def close(self) -> None:
        """The thread ends after the call in hand."""
        self._calls.put(None)

    def _work(self) -> None:
        while (taken := self._calls.get()) is not None:
            call, future = taken
            result, failure = None, None
            try:
                result = call()
            except BaseException as error:  # SystemExit, too, would end the thread unseen
                failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
            # The loop may have been closed meanwhile; then nobody waits for the result.
            with contextlib.suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(_settle, future, result, failure)


def _settle(future: "asyncio.Future[Any]", result: Any, failure: Exception | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    elif isinstance(failure, StopIteration):  # no future takes it
        future.set_exception(RuntimeError(f"it raised {failure!r}"))
    else:
        future.set_exception(failure)
