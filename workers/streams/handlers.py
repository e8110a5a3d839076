"""Message handlers: plain functions and classes of users, made into functions of a feed."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from workers.streams.handler_thread import HandlerThread

StreamFunction = Callable[[Any], Awaitable[object]]  # of a workers.context.Context


def stream_function(target: Any) -> StreamFunction:
    """What is called with the feed's context while a process holds the worker.

    `target`: a coroutine function of the feed, taken as it is; a plain function of feed and
    message, called for each message in a thread of its own; or a class with `on_message(message)`,
    made without arguments, which gets the feed as its attribute `feed`, and may have `on_open()`,
    called after each connect, `on_close(why)`, for each WebSocket that was opened, and
    `on_error(error)`, for one that could not be opened or broke, and for what `on_message` raises,
    which then ends the call, as in any other worker. Of a class each is a coroutine function, or a
    plain one, which is called in the thread. What a handler of messages returns is published unless
    it is None. Raises TypeError for anything else.
    """
    if inspect.isclass(target):
        if not callable(getattr(target, "on_message", None)):
            raise TypeError(f"{target.__name__} has no on_message(message)")
        return _of_class(target)
    if inspect.iscoroutinefunction(target):
        function: StreamFunction = target
        return function
    if not callable(target):
        raise TypeError(f"{target!r} is neither a function nor a class")
    return _of_plain(target)


def _of_plain(target: Callable[[Any, Any], Any]) -> StreamFunction:
    async def handled(feed: Any) -> None:
        thread = HandlerThread(getattr(target, "__name__", "handler"))
        try:
            async for message in feed.messages():
                await _publish(feed, await thread.call(target, feed, message))
        finally:
            thread.close()

    return handled


def _of_class(made: Callable[[], Any]) -> StreamFunction:
    async def handled(feed: Any) -> None:
        thread = HandlerThread(getattr(made, "__name__", "worker"))
        try:
            worker = made()
            worker.feed = feed
            await _Calls(worker, thread).handle_all(feed)
        finally:
            thread.close()

    return handled


class _Calls:
    """The methods of a worker's object, called as messages come."""

    def __init__(self, worker: Any, thread: HandlerThread) -> None:
        self._worker = worker
        self._thread = thread
        self._is_open = False

    async def handle_all(self, feed: Any) -> None:
        messages = feed.messages()
        messages.on_connect, messages.on_broken = self._opened, self._broken
        why = "stopped"
        try:
            async for message in messages:
                await _publish(feed, await self._call("on_message", message))
        except asyncio.CancelledError:
            self._is_open = False  # there is no time left
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            await self._call("on_error", error)
            raise
        finally:
            await self._closed(why)

    async def _opened(self) -> None:
        self._is_open = True
        await self._call("on_open")

    async def _broken(self, error: Exception, was_open: bool) -> None:
        await self._call("on_error", error)
        await self._closed(str(error))

    async def _closed(self, why: str) -> None:
        if self._is_open:
            self._is_open = False
            await self._call("on_close", why)

    async def _call(self, name: str, *arguments: Any) -> Any:
        function = getattr(self._worker, name, None)
        if function is None:
            return None
        if inspect.iscoroutinefunction(function):
            return await function(*arguments)
        result = await self._thread.call(function, *arguments)
        return await result if inspect.isawaitable(result) else result


async def _publish(feed: Any, value: Any) -> None:
    if value is not None:
        await feed.publish(value)
