"""Both clients behind one form, so that each test runs with either: calls are awaited."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Protocol

from documents.building import DocumentBuilder
from market.markets import Exchange, Market, MarketSeries, Missing, Row
from market.timeframes import Timeframe
from perpcache_client import AsyncClient, Client, Table

STEP_MS = 4 * 3_600_000
FORMING_MS = 1_699_992_000_000  # the 4h candle that holds AS_OF_MS
AS_OF_MS = 1_700_000_000_000
CLOSED = (FORMING_MS - STEP_MS, 1.5, 2.25, 1.0, 1.25, 10.0, 12.5, 7.75, 1e-05)
FORMING = (FORMING_MS, 1.25, 2.0, 1.0, 1.75, 4.0, 5.5, None, None)
COLUMNS = [
    *("exchange", "symbol", "open_time", "open", "high", "low", "close", "volume", "turnover"),
    *("open_interest", "funding_rate", "closed"),
]
ROWS = [
    ("binance", "BTCUSDT", *CLOSED, True),
    ("binance", "BTCUSDT", *FORMING, False),
    ("bybit", "ETHUSDT", *CLOSED, True),
    ("bybit", "ETHUSDT", *FORMING, False),
]


def document(version: int, candles: tuple[Row, ...] = (CLOSED, FORMING)) -> bytes:
    """Two markets with rows, between them one that was listed just now and has none."""
    builder = DocumentBuilder(Timeframe.H4, "collected")
    for exchange, base, rows in (
        (Exchange.BINANCE, "BTC", list(candles)),
        (Exchange.BINANCE, "NEW", []),
        (Exchange.BYBIT, "ETH", list(candles)),
    ):
        market = Market(exchange, f"{base}USDT", base, "USDT")
        builder.add(MarketSeries(market, rows, AS_OF_MS), {})
    missing = [Missing(Exchange.BYBIT, "XYZUSDT", "klines", "gone")]
    return builder.finish(
        version=version, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=missing
    )


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
