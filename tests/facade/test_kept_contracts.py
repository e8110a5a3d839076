"""What exchanges list of contracts, from their lists to whoever makes an answer of coins."""

from decimal import Decimal
from itertools import count
from urllib.parse import urlencode

import orjson
import pytest

from budgets.slots import budget_key
from data_collector.url_builder import history_request, listing_request
from facade.hearing import Hearing
from facade.kept_contracts import KeptContracts
from facade.kept_rows import KeptRows
from market.markets import Exchange, Market
from market.timeframes import Timeframe
from stores.hot.store import HotStore
from tests.facade.bots import INTEREST, KLINES, OKX, about, asked_of, bots
from tests.fixtures.api import ServedApi, StartApi, get
from tests.fixtures.jobs import OpenRunner, asked
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from venues.venue import Endpoint

NATIVE = "BTC-USDT-SWAP"
MARKET = Market(OKX, "BTCUSDT", "BTC", "USDT", native=NATIVE, contract_size=0.01)
LIST = b'{"code":"0","msg":"","data":[{"instId":"BTC-USDT-SWAP","ctVal":"0.01","ctMult":"1"}]}'
INSTRUMENTS = "/api/v5/public/instruments"


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=1, bybit=1, okx=3, now=NOW_MS, frozen=True, no_limits=True)


async def test_sizes_are_kept_by_the_exchanges_names(store: HotStore) -> None:
    kept = KeptContracts(store)
    assert await kept.size(OKX, NATIVE) is None
    await kept.keep(OKX, {NATIVE: Decimal("0.01"), "X-USDT-SWAP": Decimal("1E+9")})
    assert await kept.size(OKX, NATIVE) == Decimal("0.01")
    assert await kept.size(OKX, "X-USDT-SWAP") == Decimal(10**9)
    assert await kept.size(OKX, "BTCUSDT") is None
    assert await kept.size(Exchange("bybit"), NATIVE) is None
    await kept.keep(OKX, {NATIVE: Decimal("0.1")})
    assert await kept.size(OKX, NATIVE) == Decimal("0.1")
    assert await kept.size(OKX, "X-USDT-SWAP") is None  # the exchange does not list it any more


@pytest.mark.parametrize("value", [b"", b"[]", b"1", b'{"BTC-USDT-SWAP":"much"}', b"null"])
async def test_a_value_of_others_is_none(store: HotStore, value: bytes) -> None:
    kept = KeptContracts(store)
    await store.execute("SET", "facade:contracts:okx", value)
    assert await kept.size(OKX, NATIVE) is None
    await kept.keep(OKX, {NATIVE: Decimal(1)})
    assert await kept.size(OKX, NATIVE) == 1


async def test_the_collectors_own_lists_and_histories_are_heard(store: HotStore) -> None:
    """Rows of open interest do not say of which market: the request did."""
    rows, contracts = KeptRows(store), KeptContracts(store)
    hearing = Hearing(rows, contracts)
    hearing.note(listing_request(OKX, Endpoint.INSTRUMENTS), LIST)
    for wrong in (b"", b"{}", b'{"data":1}', b"[]"):
        hearing.note(listing_request(OKX, Endpoint.INSTRUMENTS), wrong)
    asked = history_request(
        MARKET, Endpoint.OPEN_INTEREST, start_ms=0, end_ms=1, limit=2, period=Timeframe.H1
    )
    newest_ms = NOW_MS - NOW_MS % 3_600_000
    told = [str(newest_ms), "10", "0.1", "8571.79"]
    hearing.note(asked, orjson.dumps({"code": "0", "msg": "", "data": [told]}))
    assert await hearing.flush()
    assert await contracts.size(OKX, NATIVE) == Decimal("0.01")
    (row,) = await rows.read(OKX, Endpoint.OPEN_INTEREST, NATIVE, newest_ms, newest_ms)
    assert orjson.loads(row.text) == told


async def test_candles_are_told_once_a_list_was_heard(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    """From the collector, or from what a bot asked for: the list of all swaps, no other."""
    query = about(OKX, NATIVE) | {"bar": "1H", "limit": "20"}
    async with bots(open_runner, exchanges) as asking:
        await asking.collect("discovery", "funding", "collect:all")
        assert await asking.ask(OKX, KLINES[OKX], query)
        await asking.runner.context.store.execute("UNLINK", "facade:contracts:okx")
        asking.pass_time(1_000)
        again = query | {"limit": "21"}  # not answered before
        assert not await asking.ask(OKX, KLINES[OKX], again)
        for kind in ({"instType": "SPOT"}, {"instType": "SWAP"} | about(OKX, NATIVE)):
            _, body = asking.told(INSTRUMENTS, kind)
            asking.answers.passed(asked_of(OKX, INSTRUMENTS, kind), body, asking.now_ms)
            await asking.hearing.flush()
            assert not await asking.ask(OKX, KLINES[OKX], again)
        _, body = asking.told(INSTRUMENTS, {"instType": "SWAP"})
        asking.answers.passed(asked_of(OKX, INSTRUMENTS, {"instType": "SWAP"}), body, asking.now_ms)
        await asking.hearing.flush()
        assert await asking.ask(OKX, KLINES[OKX], again)


LIMITS = count(20)


async def answers(api: ServedApi, market: str, bar: str = "1H") -> str:
    """How candles of the market are answered that nobody has asked for before."""
    query = urlencode(about(OKX, market) | {"bar": bar, "limit": str(next(LIMITS))})
    async with api.http.get(f"/okx{KLINES[OKX]}?{query}") as answer:
        await answer.read()
        return answer.headers["X-Perpcache"].partition(";")[0]


def lists_asked(exchanges: Simulator) -> int:
    return sum(request["endpoint"] == "instruments" for request in asked(exchanges, "okx"))


async def test_a_list_is_asked_for_once_where_none_was_heard(
    open_runner: OpenRunner, start_api: StartApi, redis_url: str, exchanges: Simulator
) -> None:
    """The collector read its lists before the facade was on, or before this store was the one."""
    base = {"okx_base_url": exchanges.base_url, "exchanges": "okx"}
    async with open_runner(exchanges, **base) as runner:
        for job in ("discovery", "funding", "collect:1h"):
            await runner.complete(job)
    exchanges.post("/sim/stats/reset")
    api = await start_api(redis_url=redis_url, facade="on", facade_forming_s=600, **base)
    contracts = KeptContracts(api.store)
    await get(api, "/okx/api/v5/public/time")
    # Not where the exchange alone can answer, for another reason.
    assert await answers(api, NATIVE, bar="1m") == "pass"
    assert lists_asked(exchanges) == 0
    assert await answers(api, NATIVE) == "pass"

    async def is_known() -> bool:
        return await contracts.size(OKX, NATIVE) is not None

    await until(is_known)
    assert lists_asked(exchanges) == 1
    assert await answers(api, NATIVE) == "hit"
    assert await answers(api, "ETH-USDT-SWAP") == "hit"
    # A market that no list has is no reason to ask for it again and again.
    for _ in range(3):
        assert await answers(api, "NONE-USDT-SWAP") == "pass"
    assert lists_asked(exchanges) == 1


async def test_a_list_that_did_not_come_is_asked_for_again(
    start_api: StartApi, redis_url: str, exchanges: Simulator, open_runner: OpenRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Sooner than one that came, which another minute does not change."""
    monkeypatch.setattr("facade.asked_beside._LIST_AGAIN_S", 0.0)
    base = {"okx_base_url": exchanges.base_url, "exchanges": "okx"}
    async with open_runner(exchanges, **base) as runner:
        for job in ("discovery", "funding", "collect:1h"):
            await runner.complete(job)
    exchanges.post("/sim/stats/reset")
    away = {"kind": "status", "status": 503, "endpoint": "instruments", "count": 2}
    exchanges.post("/sim/faults", away)
    api = await start_api(redis_url=redis_url, facade="on", facade_forming_s=600, **base)
    await get(api, "/okx/api/v5/public/time")

    async def is_told() -> bool:
        return await answers(api, NATIVE) == "hit"

    await until(is_told)
    assert lists_asked(exchanges) == 3


async def test_only_markets_have_room_of_their_own_where_it_is_counted_by_market(
    start_api: StartApi, redis_url: str, exchanges: Simulator
) -> None:
    """Or else whoever asks for names that do not exist would ask without a limit."""
    base = {"okx_base_url": exchanges.base_url, "exchanges": "okx"}
    api = await start_api(redis_url=redis_url, facade="on", **base)
    await get(api, f"/okx{INSTRUMENTS}?instType=SWAP")
    contracts = KeptContracts(api.store)

    async def are_known() -> bool:
        return await contracts.size(OKX, NATIVE) is not None

    await until(are_known)

    async def used(market: str | None) -> bool:
        key = budget_key("default", OKX, "open_interest", market)
        return bool(await api.store.execute("HGETALL", key))

    for native, market in ((NATIVE, "BTCUSDT"), ("NONE-USDT-SWAP", "NONEUSDT")):
        await get(api, f"/okx{INTEREST[OKX]}?instId={native}&period=1D")
        assert await used(market) == (native == NATIVE)
        assert await used(None) == (native != NATIVE)
