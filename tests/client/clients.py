"""Both clients behind one form, so that each test runs with either: calls are awaited."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Protocol, TypeVar

from perpcache_client import AsyncClient, Client, Overview, Table

T = TypeVar("T")


class Asked(Protocol):
    """A client; `call` awaits one of its methods, `watch` iterates."""

    async def call(self, method: str, *args: Any, **named: Any) -> Any: ...

    def watch(self, name: str, **named: Any) -> AsyncGenerator[Table, None]: ...

    def watch_overview(self, *args: Any) -> AsyncGenerator[Overview, None]: ...

    async def aclose(self) -> None: ...


class Plain:
    """Client, each call in a thread."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, method: str, *args: Any, **named: Any) -> Any:
        return await asyncio.to_thread(getattr(self.client, method), *args, **named)

    def watch(self, name: str, **named: Any) -> AsyncGenerator[Table, None]:
        return _iterated(lambda: self.client.watch(name, **named))

    def watch_overview(self, *args: Any) -> AsyncGenerator[Overview, None]:
        return _iterated(lambda: self.client.watch_overview(*args))

    async def aclose(self) -> None:
        self.client.close()


class Async:
    """AsyncClient as it is."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client

    async def call(self, method: str, *args: Any, **named: Any) -> Any:
        return await getattr(self.client, method)(*args, **named)

    async def watch(self, name: str, **named: Any) -> AsyncGenerator[Table, None]:
        async with aclosing(self.client.watch(name, **named)) as tables:
            async for table in tables:
                yield table

    async def watch_overview(self, *args: Any) -> AsyncGenerator[Overview, None]:
        async with aclosing(self.client.watch_overview(*args)) as overviews:
            async for overview in overviews:
                yield overview

    async def aclose(self) -> None:
        await self.client.aclose()


async def _iterated(begin: Callable[[], Iterator[T]]) -> AsyncGenerator[T, None]:
    """A daemon thread iterates: one that waits for a version does not hold the test's end."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[T | Exception]()

    def put(told: T | Exception) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(queue.put_nowait, told)

    def iterate() -> None:
        try:
            for each in begin():
                put(each)
        except Exception as error:
            put(error)

    threading.Thread(target=iterate, daemon=True).start()
    while True:
        told = await queue.get()
        if isinstance(told, Exception):
            raise told
        yield told


MAKERS: dict[str, Callable[..., Asked]] = {
    "Client": lambda *args, **named: Plain(Client(*args, **named)),
    "AsyncClient": lambda *args, **named: Async(AsyncClient(*args, **named)),
}


@asynccontextmanager
async def opened(kind: str, *args: Any, **named: Any) -> AsyncGenerator[Asked, None]:
    asked = MAKERS[kind](*args, **named)
    try:
        yield asked
    finally:
        await asked.aclose()
