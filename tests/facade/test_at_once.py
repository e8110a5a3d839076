"""What is told without a look at the store is the exchange's own at that instant, or nothing."""

from itertools import chain

import pytest

from api.documents.document_cache import DocumentCache
from api.facade_cache import FacadeDocuments
from market.markets import Exchange
from market.timeframes import HOUR_MS
from tests.facade.bots import (
    EXCHANGES,
    KLINES,
    PATHS,
    Bots,
    asked_of,
    bots,
    numbers,
    symbols_of,
    usual,
)
from tests.fixtures.api import ServedApi
from tests.fixtures.documents import AS_OF_MS, document
from tests.fixtures.jobs import OpenRunner
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

Asked = tuple[Exchange, str, dict[str, str]]
CLOSE_MS = 4 * HOUR_MS - NOW_MS % (4 * HOUR_MS)


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=4, bybit=4, okx=4, now=NOW_MS, frozen=True, no_limits=True)


def at_once(asking: Bots, asked: Asked) -> bytes | None:
    time = asking.answers.time(asked[0])._replace(now_ms=asking.now_ms)
    found = asking.answers.at_once(asked_of(*asked), time)
    return None if found is None else found.body


def is_told(asking: Bots, asked: Asked) -> bool:
    """Whether it is told at once; if so, it is what the exchange answers."""
    ours = at_once(asking, asked)
    if ours is not None:
        status, theirs = asking.told(*asked[1:])
        assert (status, numbers(theirs)) == (200, numbers(ours)), asked
    return ours is not None


async def answered(asking: Bots, asked: list[Asked]) -> list[Asked]:
    return [each for each in asked if await asking.ask(*each)]


async def test_right_after_a_close_nothing_is_told_of_a_version_of_before(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    """Nobody looks for a newer version, for however long."""
    async with bots(open_runner, exchanges, monotonic_s=lambda: 0.0) as asking:
        await asking.collect("discovery", "collect:all")
        symbols = {each: symbols_of(exchanges, each) for each in EXCHANGES}
        newest = [each for each in usual(symbols) if each[1] in KLINES.values()]
        ends = str(NOW_MS - 9 * HOUR_MS)
        past = [
            (exchange, path, query | {PATHS[path][2]: ends, "limit": "5"})
            for exchange, path, query in newest
        ]
        assert not any(at_once(asking, each) for each in chain(newest, past))
        newest, past = [await answered(asking, each) for each in (newest, past)]
        assert newest
        assert past
        assert all(is_told(asking, each) for each in chain(newest, past))

        asking.pass_time(CLOSE_MS + 8_000)
        for jobs in ((), ("collect:all",)):
            await asking.collect(*jobs)
            assert not any(is_told(asking, each) for each in newest)
            assert all(is_told(asking, each) for each in past)
        again = await answered(asking, newest)
        assert len(again) > len(newest) / 2
        assert all(is_told(asking, each) for each in again)


async def test_a_version_is_looked_at_again_after_20_ms(native_api: ServedApi) -> None:
    now_s = 100.0
    cache = DocumentCache(native_api.cache, monotonic_s=lambda: now_s)
    documents = FacadeDocuments(cache)
    await native_api.publish("4h", document(), AS_OF_MS)
    newest = await documents.newest("4h")
    assert newest is not None
    await native_api.publish("4h", document(), AS_OF_MS + 1)
    for passed_s, version in ((0.0, newest.version), (0.019, newest.version), (0.021, None)):
        now_s = 100.0 + passed_s
        assert documents.version_lately("4h") == version
    await cache.aclose()
