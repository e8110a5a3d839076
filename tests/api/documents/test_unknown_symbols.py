"""Unknown symbols: named in the answer, with similar known ones."""

import asyncio
import time
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any

import orjson

from api.documents.unknown_symbols import ListedSymbols, similar_symbols
from database import Database, DatabaseUnavailable
from market.markets import Exchange, ListedMarket, Market
from tests.fixtures.api import ServedApi, StartApi, get
from tests.fixtures.cpu_time import least_cpu_s
from tests.fixtures.documents import AS_OF_MS, MARKETS, document


async def test_symbols_that_nobody_lists_are_named(
    start_api: StartApi, store_settings: dict[str, Any], database_url: str
) -> None:
    database = Database(database_url)
    young = Market(Exchange.BINANCE, "YOUNGUSDT", "YOUNG", "USDT")
    listed = [ListedMarket(market, 1.0) for market in (MARKETS[0], young)]
    await database.markets.save_markets(Exchange.BINANCE, listed, seen_at_ms=1)
    await database.aclose()
    api = await start_api(**store_settings, dsn=database_url)
    await api.publish("4h", document(), AS_OF_MS)
    for method in ("GET", "GET", "HEAD"):  # the second finds what the first made
        # In the document; in its list of what is missing; on a list alone; nowhere.
        for known in ("btcusdt", "XYZUSDT", "youngusdt"):
            status, headers, _ = await get(api, f"/cache/4h?symbol={known}", method)
            assert (status, "x-unknown-symbols" in headers) == (200, False)
            path = f"/cache/4h?symbol={known},nope&symbol=btcusd"
            status, headers, _ = await get(api, path, method)
            assert (status, headers["x-unknown-symbols"]) == (200, "BTCUSD, NOPE")
        status, headers, body = await get(api, "/cache/4h?symbol=btcusd,nope", method)
        assert (status, headers["x-unknown-symbols"]) == (404, "BTCUSD, NOPE")
        assert headers["cache-control"] == "no-cache"
        if method == "GET":
            assert "did you mean BTCUSDT" in orjson.loads(body)["detail"]
    for symbol, near in (("young-usdt", "YOUNGUSDT"), ("BTC", "BTCUSDT"), ("qqqqqqq", None)):
        status, _, body = await get(api, f"/cache/4h?symbol={symbol}")
        told = orjson.loads(body)["detail"]
        assert (status, f"did you mean {near}" in told) == (404, near is not None)
        assert ("GET /coins" in told) == (near is None)


async def test_validators_that_match_anything_do_not_hide_that_symbols_are_unknown(
    native_published: ServedApi,
) -> None:
    api = native_published
    later = formatdate(time.time(), usegmt=True)
    for method in ("GET", "GET", "HEAD"):
        for conditions in ({"If_None_Match": "*"}, {"If_Modified_Since": later}):
            for query, status in (
                ("symbol=nope", 404),
                ("symbol=nope,nada&limit=1", 404),
                ("symbol=nope&wait=60", 404),  # at once, as without a validator
                ("symbol=nope,btcusdt", 304),
                ("symbol=XYZUSDT", 304),
                ("limit=1", 304),
            ):
                answer = await get(api, f"/cache/4h?{query}", method, **conditions)
                assert answer[0] == status, (query, conditions)
                assert (b"GET /coins" in answer[2]) == (status == 404 and method == "GET")
    # In a new version, too, and after it has been answered with a body.
    path = "/cache/4h?symbol=btcusdt"
    assert (await get(api, path))[0] == 200
    assert (await get(api, path, If_None_Match="*"))[0] == 304
    await api.publish("4h", document(AS_OF_MS + 1), AS_OF_MS + 1)
    assert (await get(api, path, If_None_Match="*"))[0] == 304
    assert (await get(api, "/cache/4h?symbol=nope", If_None_Match="*"))[0] == 404
    assert (await get(api, path))[0] == 200


async def test_unknown_symbols_are_few_and_plain_in_the_answer(
    native_published: ServedApi,
) -> None:
    hostile = "A%0D%0AX-Evil:1,<script>," + "A" * 9000
    status, headers, body = await get(native_published, f"/cache/4h?symbol={hostile}")
    assert status == 404
    assert "x-evil" not in headers
    assert "script" not in body.decode()
    named = headers["x-unknown-symbols"].split(", ")
    assert named == ["%3CSCRIPT%3E", "A%0D%0AX-EVIL%3A1", "A" * 64]
    many = ",".join(f"NOPE{number:04}" for number in range(1500))
    status, headers, _ = await get(native_published, f"/cache/4h?symbol=BTCUSDT,{many}")
    assert (status, headers["x-unknown-symbols"].count(",")) == (200, 50)
    assert headers["x-unknown-symbols"].endswith(", NOPE0049, ...")


def test_only_a_few_of_many_unknown_symbols_are_compared() -> None:
    requested = [f"{number:04}" + "A" * 9000 for number in range(1500)]
    known = [f"{number:04}USDT" for number in range(1000)]
    assert least_cpu_s(lambda: similar_symbols(requested, known), 0.5) < 0.5


async def test_lists_are_read_once_a_minute_and_believed_while_the_database_is_away() -> None:
    now_s = 0.0
    reads: list[float] = []
    lists: list[Sequence[Market] | Exception] = []

    async def read() -> Sequence[Market]:
        reads.append(now_s)
        answer = lists[-1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    symbols = ListedSymbols(read, clock_s=lambda: now_s)
    lists.append(MARKETS[:1])
    answers = await asyncio.gather(*(symbols.current() for _ in range(10)))
    assert (set(answers), reads) == ({frozenset(["BTCUSDT"])}, [0.0])
    now_s = 59.0
    lists.append(MARKETS)
    assert await symbols.current() == {"BTCUSDT"}
    now_s = 60.0
    assert await symbols.current() == {"BTCUSDT", "ETHUSDT"}
    # While it is away it is asked more often, but not by each request.
    now_s = 120.0
    lists.append(DatabaseUnavailable("the database failed"))
    for at_s in (120.0, 121.0, 129.0, 130.0):
        now_s = at_s
        assert await symbols.current() == {"BTCUSDT", "ETHUSDT"}
    assert reads == [0.0, 60.0, 120.0, 130.0]
