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
    called after each connect, `on_close(why)`, at the end, and `on_error(error)`, for what
    `on_message` raises, which then does not end the worker. Of a class each is a coroutine
    function, or a plain one, which is called in the thread. What a handler of messages returns is
    published unless it is None. Raises TypeError for anything else.
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
        worker, why = made(), "stopped"
        worker.feed = feed
        try:
            await _handle_all(worker, feed, thread)
        except asyncio.CancelledError:
            why = "lost, or not stopped in time"
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise
        finally:
            try:
                await _call(worker, "on_close", thread, why)
            finally:
                thread.close()

    return handled


async def _handle_all(worker: Any, feed: Any, thread: HandlerThread) -> None:
    messages = feed.messages()
    messages.on_connect = lambda: _call(worker, "on_open", thread)
    async for message in messages:
        try:
            await _publish(feed, await _call(worker, "on_message", thread, message))
        except Exception as error:
            if getattr(worker, "on_error", None) is None:
                raise
            await _call(worker, "on_error", thread, error)


async def _call(worker: Any, name: str, thread: HandlerThread, *arguments: Any) -> Any:
    function = getattr(worker, name, None)
    if function is None:
        return None
    if inspect.iscoroutinefunction(function):
        return await function(*arguments)
    result = await thread.call(function, *arguments)
    return await result if inspect.isawaitable(result) else result


async def _publish(feed: Any, value: Any) -> None:
    if value is not None:
        await feed.publish(value)
