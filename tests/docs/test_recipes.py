"""The recipes of docs/recipes.md, each run against the real API."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import httpx
import pytest

from documents.building import DocumentBuilder
from market.markets import Exchange, Market, MarketSeries, Row
from market.timeframes import Timeframe
from tests.docs.blocks import Block, claim
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.signals import until, until_true

FEED: Final = claim("docs/recipes.md", "class Feed:")
LOOP: Final = claim("docs/recipes.md", "feed = Feed(")
VERSIONS: Final = claim("docs/recipes.md", "def versions(")
REFRESH: Final = claim("docs/recipes.md", "def refresh(")
TABLE: Final = claim("docs/recipes.md", "def table(")
STRATEGY: Final = claim("docs/recipes.md", "class FundingAware(")
SECRET_FILE: Final = claim("docs/recipes.md", "printf 'Authorization")
CRON_LINES: Final = {  # by the job that each queues
    "funding": claim("docs/recipes.md", "update-fr"),
    "discovery": claim("docs/recipes.md", "update-coins"),
    "collect:all": claim("docs/recipes.md", "*/5 * * * *"),
    "collect:4h": claim("docs/recipes.md", "0 */4 * * *"),
}
AS_OF_MS: Final = 1_700_000_000_000


async def until_it_waits(api: ServedApi) -> None:
    """Returns once the store was asked for the version by a request that now waits."""
    asked = api.counts["versions"]
    await until_true(lambda: api.counts["versions"] != asked)


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


def recipe(block: Block, port: int, **given: Any) -> dict[str, Any]:
    """The names that the recipe defines, told our address; `given` is there before it runs."""
    address = 'PERPCACHE = "http://127.0.0.1:8000"'
    assert block.text.count(address) == 1
    names: dict[str, Any] = {"__name__": "recipe", **given}
    own = block.text.replace(address, f'PERPCACHE = "http://127.0.0.1:{port}"')
    exec(compile(own, f"{block.document}:{block.line}", "exec"), names)  # noqa: S102 - our own
    return names


async def test_polling_with_etag(native_api: ServedApi) -> None:
    names = recipe(FEED, native_api.port)
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
    names = recipe(VERSIONS, native_api.port)
    paused: list[float] = []
    names["time"] = SimpleNamespace(sleep=paused.append)
    seen = names["versions"]("4h", wait_s=20)

    async def after(version: int) -> int:
        """The version that comes next, published while the recipe waits."""
        waiting = asyncio.create_task(asyncio.to_thread(next, seen))
        await until_it_waits(native_api)
        await native_api.publish("4h", document(version), version)
        async with asyncio.timeout(15):
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

    names = recipe(VERSIONS, 1)
    names["time"] = SimpleNamespace(sleep=pause)
    with pytest.raises(EnoughSeen):
        await asyncio.to_thread(list, names["versions"]("4h"))
    assert paused == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("state", ["complete", "failed"])
async def test_trigger_and_wait(native_api: ServedApi, state: Any) -> None:
    refresh = recipe(REFRESH, native_api.port)["refresh"]
    waiting = asyncio.create_task(asyncio.to_thread(refresh, "4h", 20))
    async with native_api.lease() as lease:
        job = await until(lambda: native_api.queue.take(lease))
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
    await native_api.publish("4h", document(1), 1)
    names = recipe(TABLE, native_api.port)
    table = await asyncio.to_thread(names["table"], "4h")
    assert len(table) == 6
    one = table.loc[("binance", "BTCUSDT")]
    assert list(one["closed"]) == [True, True, False]
    assert one["open_interest"].isna().all()
    assert str(one.index.tz) == "UTC"
    assert list(table["close"].unstack(["exchange", "symbol"]).iloc[-1]) == [1.25, 1.25]


async def test_the_bots_loop_decides_on_new_documents_and_stands_aside_for_old_ones(
    native_api: ServedApi,
) -> None:
    class EnoughSeen(Exception):
        pass

    now_ms = time.time_ns() // 1_000_000
    await native_api.publish("4h", document(1), 1, updated_at_ms=now_ms - 6 * 3_600_000)
    decided: list[set[tuple[str, str]]] = []
    aside: list[str] = []

    def pause(_: float) -> None:
        if aside:
            raise EnoughSeen

    names = recipe(FEED, native_api.port)
    names |= {"decide": lambda markets: decided.append(set(markets)), "stand_aside": aside.append}
    names["time"] = SimpleNamespace(monotonic=time.monotonic, sleep=pause)
    code = compile(LOOP.text, "docs/recipes.md", "exec")
    with pytest.raises(EnoughSeen):
        await asyncio.to_thread(exec, code, names)
    assert decided == [{("binance", "BTCUSDT"), ("bybit", "ETHUSDT")}]
    assert aside == ["the data is old"]
    names["feed"]._client.close()


@pytest.mark.parametrize(("job_id", "block"), CRON_LINES.items(), ids=CRON_LINES)
async def test_the_cron_lines_queue_their_jobs(
    start_api: StartApi, redis_url: str, tmp_path: Path, job_id: str, block: Block
) -> None:
    api = await start_api(redis_url=redis_url, cron_secret="s3cret")
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path)}

    async def shell(line: str, **more: str) -> None:
        await asyncio.to_thread(
            subprocess.run,
            ["/bin/sh", "-c", line],
            env=environment | more,
            check=True,
            timeout=60,
        )

    await shell(SECRET_FILE.text, CRON_SECRET="s3cret")
    assert (tmp_path / ".perpcache-cron").stat().st_mode & 0o777 == 0o600
    schedule, command = block.text.split(" curl ", 1)
    assert len(schedule.split()) == 5
    await shell("curl " + command.replace(":8000/", f":{api.port}/"))
    (job,) = await api.queue.list()
    assert job.id == job_id


class _Strategy:
    """As much of freqtrade's IStrategy as is touched here: test_bots.py has freqtrade itself."""

    timeframe = "15m"


def _merge(dataframe: Any, informative: Any, timeframe: str, longer: str, ffill: bool) -> Any:
    """As freqtrade's documentation says: a candle's values show once it is closed."""
    import pandas as pd

    span, step = pd.Timedelta(longer), pd.Timedelta(timeframe)
    later = informative.assign(date=informative["date"] + span - step)
    later = later.rename(columns={name: f"{name}_{longer}" for name in later})
    merged = dataframe.merge(later, how="left", left_on="date", right_on=f"date_{longer}")
    return merged.ffill() if ffill else merged


async def test_the_strategy_reads_open_interest_and_funding(
    native_api: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    strategy_module = ModuleType("freqtrade.strategy")
    strategy_module.__dict__.update(IStrategy=_Strategy, merge_informative_pair=_merge)
    monkeypatch.setitem(sys.modules, "freqtrade", ModuleType("freqtrade"))
    monkeypatch.setitem(sys.modules, "freqtrade.strategy", strategy_module)
    await native_api.publish("4h", document(1), 1)
    names = recipe(STRATEGY, native_api.port)
    strategy = names["FundingAware"]()

    def read() -> None:
        with names["Client"](names["PERPCACHE"]) as client:
            strategy.keep(client.table("4h", exchange=names["EXCHANGE"], closed=True))

    await asyncio.to_thread(read)
    start = pd.Timestamp(AS_OF_MS - AS_OF_MS % 14_400_000 - 8 * 3_600_000, unit="ms", tz="UTC")
    frame = pd.DataFrame({"date": pd.date_range(start, periods=40, freq="15min")})
    known = strategy.populate_indicators(frame, {"pair": "BTC/USDT:USDT"})
    # The first 4h candle closes with the sixteenth of 15 minutes; before that nothing is known.
    assert known["funding_rate_4h"].isna().tolist() == [True] * 15 + [False] * 25
    assert known["funding_rate_4h"].iloc[-1] == 1e-05
    assert known["open_interest_4h"].isna().all()
    none = strategy.populate_indicators(frame.copy(), {"pair": "NEW/USDT:USDT"})
    assert none["funding_rate_4h"].isna().all()
    entries = strategy.populate_exit_trend(strategy.populate_entry_trend(known, {}), {})
    assert entries["exit_long"].sum() == 25
