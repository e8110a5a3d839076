"""The recipes of docs/: each block of Python compiles, and runs against the real API."""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import httpx
import pytest

from documents.building import DocumentBuilder
from market.markets import Exchange, Market, MarketSeries, Row
from market.timeframes import Timeframe
from tests.fixtures.api import ServedApi

ROOT: Final = Path(__file__).resolve().parents[1]
AS_OF_MS: Final = 1_700_000_000_000


def blocks(name: str, language: str) -> list[str]:
    """The code blocks of a Markdown file; `language` may be empty."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$",
        (ROOT / name).read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )


async def until_it_waits(api: ServedApi) -> None:
    """Returns once the store was asked for the version by a request that now waits."""
    asked = api.counts["versions"]
    async with asyncio.timeout(5):
        while api.counts["versions"] == asked:  # noqa: ASYNC110 - of another task
            await asyncio.sleep(0.01)


def document(version: int, rows: int = 3, stale: bool = False) -> bytes:
    builder = DocumentBuilder(Timeframe.H4, "collected")
    step_ms = 4 * 3_600_000
    newest = AS_OF_MS - AS_OF_MS % step_ms
    candles: list[Row] = [
        (newest - back * step_ms, 1.5, 2.0, 1.0, 1.25, 10.0, 12.5, None, 1e-05)
        for back in reversed(range(rows))
    ]
    btc = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")
    eth = Market(Exchange.BYBIT, "ETHUSDT", "ETH", "USDT")
    builder.add(MarketSeries(btc, candles, AS_OF_MS), {})
    builder.add(MarketSeries(eth, candles, AS_OF_MS, AS_OF_MS if stale else None), {})
    return builder.finish(version=version, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=[])


def recipe(defining: str, port: int) -> dict[str, Any]:
    """The names that the recipe with `def` or `class` of this name defines, told our address."""
    (code,) = [
        block
        for block in blocks("docs/recipes.md", "python")
        if re.search(rf"^(def|class) {defining}\b", block, re.MULTILINE)
    ]
    address = 'PERPCACHE = "http://127.0.0.1:8000"'
    assert code.count(address) == 1
    names: dict[str, Any] = {"__name__": "recipe"}
    own = code.replace(address, f'PERPCACHE = "http://127.0.0.1:{port}"')
    exec(compile(own, f"docs/recipes.md ({defining})", "exec"), names)  # noqa: S102 - our own
    return names


@pytest.mark.parametrize("name", ["docs/recipes.md", "docs/deploying.md", "README.md"])
def test_python_in_the_documents_compiles(name: str) -> None:
    code = blocks(name, "python")
    assert code or name == "docs/deploying.md"
    for block in code:
        compile(block, name, "exec")


async def test_polling_with_etag(native_api: ServedApi) -> None:
    names = recipe("Feed", native_api.port)
    feed = await asyncio.to_thread(names["Feed"], "4h", closed="true", limit="2")
    poll: Callable[[], bool] = feed.poll
    assert not await asyncio.to_thread(poll)  # nothing collected yet: no failure
    assert (feed.document, feed.age_s(), feed._failures) == (None, float("inf"), 0)
    now_ms = time.time_ns() // 1_000_000
    await native_api.publish("4h", document(1, stale=True), 1, updated_at_ms=now_ms - 600_000)
    assert await asyncio.to_thread(poll)
    assert feed.document["version"] == 1
    assert set(feed.fresh_markets()) == {("binance", "BTCUSDT")}
    closed = feed.document["last_closed_open_time"]
    assert [row[0] <= closed for row in feed.document["markets"][0]["rows"]] == [True, True]
    assert 599 <= feed.age_s() < 620
    loaded = native_api.counts["documents"]
    assert not await asyncio.to_thread(poll)
    assert native_api.counts["documents"] == loaded  # 304
    await native_api.publish("4h", document(2), 2, updated_at_ms=now_ms)
    assert await asyncio.to_thread(poll)
    assert feed.document["version"] == 2
    assert feed.age_s() < 20
    assert len(feed.fresh_markets()) == 2
    assert 4 <= feed.pause_s() <= 6
    feed._client.close()

    # While the service is away: what is known stays, ages, and is asked for less and less often.
    feed._client = httpx.Client(base_url="http://127.0.0.1:1", timeout=5)
    for _ in range(3):
        assert not await asyncio.to_thread(poll)
    assert feed.document["version"] == 2
    assert 4 * 8 <= feed.pause_s() <= 6 * 8
    feed._failures = 100
    assert feed.pause_s() <= 144
    feed._client.close()


async def test_long_poll(native_api: ServedApi) -> None:
    names = recipe("versions", native_api.port)
    paused: list[float] = []
    names["time"] = SimpleNamespace(sleep=paused.append)
    seen = names["versions"]("4h", wait_s=20)

    async def after(version: int) -> int:
        """The version that comes next, published while the recipe waits."""
        waiting = asyncio.create_task(asyncio.to_thread(next, seen))
        await until_it_waits(native_api)
        await native_api.publish("4h", document(version), version)
        async with asyncio.timeout(5):
            found: int = (await waiting)["version"]
        return found

    assert await after(1) == 1  # there was none at all
    assert await after(2) == 2
    assert await after(3) == 3
    assert paused == []
    await asyncio.to_thread(seen.close)


async def test_long_poll_backs_off_while_the_service_is_away() -> None:
    class EnoughSeen(Exception):
        pass

    paused: list[float] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 8:
            raise EnoughSeen

    names = recipe("versions", 1)
    names["time"] = SimpleNamespace(sleep=pause)
    with pytest.raises(EnoughSeen):
        await asyncio.to_thread(list, names["versions"]("4h"))
    assert paused == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("state", ["complete", "failed"])
async def test_trigger_and_wait(native_api: ServedApi, state: Any) -> None:
    refresh = recipe("refresh", native_api.port)["refresh"]
    waiting = asyncio.create_task(asyncio.to_thread(refresh, "4h", 20))
    async with native_api.lease() as lease, asyncio.timeout(15):
        while (job := await native_api.queue.take(lease)) is None:  # noqa: ASYNC110 - of a thread
            await asyncio.sleep(0.02)
        error = "both exchanges are down" if state == "failed" else None
        await native_api.queue.finish(
            job, lease, state=state, as_of_ms=AS_OF_MS, result={"markets": 2}, error=error
        )
        if state == "complete":
            assert (await waiting)["as_of"] == AS_OF_MS
        else:
            with pytest.raises(RuntimeError, match="collect:4h failed: both exchanges are down"):
                await waiting


async def test_pandas(native_api: ServedApi) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    await native_api.publish("4h", document(1), 1)
    names = recipe("table", native_api.port)
    table = await asyncio.to_thread(names["table"], "4h")
    assert len(table) == 6
    one = table.loc[("binance", "BTCUSDT")]
    assert list(one["closed"]) == [True, True, False]
    assert one["open_interest"].isna().all()
    assert str(one.index.tz) == "UTC"
    assert list(table["close"].unstack(["exchange", "symbol"]).iloc[-1]) == [1.25, 1.25]
