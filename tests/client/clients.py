"""Both clients behind one form, so that each test runs with either: calls are awaited."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Protocol

from perpcache_client import AsyncClient, Client, Table


class Asked(Protocol):
    """A client; `call` awaits one of its methods, `watch` iterates."""

    async def call(self, method: str, *args: Any, **named: Any) -> Any: ...

    def watch(self, name: str, **named: Any) -> AsyncGenerator[Table, None]: ...

    async def aclose(self) -> None: ...


class Plain:
    """Client, each call in a thread."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, method: str, *args: Any, **named: Any) -> Any:
        return await asyncio.to_thread(getattr(self.client, method), *args, **named)

    async def watch(self, name: str, **named: Any) -> AsyncGenerator[Table, None]:
        """A daemon thread iterates: one that waits for a version does not hold the test's end."""
        loop, tables = asyncio.get_running_loop(), asyncio.Queue[Table | Exception]()

        def put(told: Table | Exception) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(tables.put_nowait, told)

        def iterate() -> None:
            try:
                for table in self.client.watch(name, **named):
                    put(table)
            except Exception as error:
                put(error)

        threading.Thread(target=iterate, daemon=True).start()
        while True:
            told = await tables.get()
            if isinstance(told, Exception):
                raise told
            yield told

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

    async def aclose(self) -> None:
        await self.client.aclose()


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
