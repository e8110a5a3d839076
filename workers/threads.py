"""Threads of workers that are a plain `def`: none holds up the end of the process."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


async def in_thread(name: str, function: Callable[[], _T]) -> _T:
    """What `function` returns, called in a thread of its own; raises what it raises.

    When the caller is cancelled, the thread goes on by itself, and its result is dropped: nothing
    can end it from outside. It is a daemon, so that the process may end before it.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()
    context = contextvars.copy_context()

    def call() -> None:
        try:
            result = context.run(function)
        except BaseException as error:  # raised again where it is awaited
            tell(done.set_exception, _raisable(error))
        else:
            tell(done.set_result, result)

    def tell(settle: Callable[..., None], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(lambda: None if done.done() else settle(value))

    threading.Thread(target=call, name=name, daemon=True).start()
    return await done


def _raisable(error: BaseException) -> BaseException:
    """A future refuses StopIteration."""
    return RuntimeError(f"{error!r}") if isinstance(error, StopIteration) else error
