"""What providers told comes back exactly, each reading once, in pages."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

import asyncpg
import pytest

from database import Database
from stores.cold.providers.chains import GasRow, StatsRow
from stores.cold.providers.conduct import AttemptRow, UsageRow
from stores.cold.providers.news import NewsFilter, NewsRow
from stores.cold.providers.prices import PriceFilter, PriceRow
from stores.cold.providers.sentiment import SentimentFilter, SentimentRow
from stores.cold.providers.tables import ProviderTables
from stores.cold.providers.whales import WhaleCursor, WhaleFilter, WhaleRow

NOW: Final = 1_795_185_441_250
DAY: Final = 86_400_000
# More digits than a double has, and one that JSON libraries write as 1E-8.
EXACT: Final = (Decimal("60997.010000000000000001"), Decimal("0.00000001"))
MUCH: Final = 2**200 + 1  # wei of nobody

PRICE: Final = PriceRow(
    symbol="btc", source="price.aggregate/coingecko", timestamp_ms=NOW, quote="USD",
    kind="aggregate", price=EXACT[0], volume_24h=None, change_24h=Decimal("-0.0141"),
    market_cap=EXACT[1], stated=True, known_at_ms=NOW + 5,
)  # fmt: skip
READING: Final = SentimentRow(
    metric="fear_greed_altme", asset="MARKET", timestamp_ms=NOW - NOW % DAY, value=Decimal(69),
    scale_min=Decimal(0), scale_max=Decimal(100), label="Greed", source="sentiment.market/fng",
    known_at_ms=NOW,
)  # fmt: skip
STORY: Final = NewsRow(
    id="ab" * 32, source="CoinDesk", url="https://www.coindesk.com/a", title="Bitcoin’s ∆ — “up”",
    summary="", published_at_ms=NOW - 60_000, updated_at_ms=None, authors=("A. Möller",),
    assets=("btc",), language="en", via=("news/rss_coindesk",), known_at_ms=NOW, changed_at_ms=NOW,
)  # fmt: skip
GAS: Final = GasRow(
    chain="ethereum", timestamp_ms=NOW, source="gas.ethereum/rpc", block=21_000_000,
    fees={"base_fee_wei": 2**60 + 1, "priority_fast_wei": 0}, known_at_ms=NOW,
)  # fmt: skip
STATS: Final = StatsRow(
    chain="bitcoin", timestamp_ms=NOW, source="stats.bitcoin/mempool", height=900_000,
    head_time_ms=NOW - 1, metrics={"difficulty": ("155973032196071.9", "1")}, known_at_ms=NOW,
)  # fmt: skip
WHALE: Final = WhaleRow(
    chain="ethereum", tx_hash="0x" + "1" * 64, index=3, type="transfer", asset="usdt",
    contract="0xdAC17F958D2ee523a2206206994597C13D831ec7", amount_raw=MUCH, decimals=6,
    value_usd=Decimal("2000000.5"), price_source="price.aggregate/coingecko", senders=("0xa",),
    receivers=("0xb", "0xc"), sender_owner=None, receiver_owner="An exchange", block=21_000_000,
    timestamp_ms=NOW, confirmed=True, source="whales.evm/own", known_at_ms=NOW,
)  # fmt: skip


@pytest.fixture
async def tables(database_url: str) -> AsyncIterator[ProviderTables]:
    database = Database(database_url)
    yield database.providers
    await database.aclose()


async def test_prices_come_back_exactly_and_once(tables: ProviderTables) -> None:
    others = [replace(PRICE, source="price.aggregate/coinpaprika"), replace(PRICE, symbol="eth")]
    assert await tables.prices.add([PRICE, *others]) == 3
    again = replace(PRICE, known_at_ms=NOW + 300_000)
    assert await tables.prices.add([again, again]) == 0
    assert await tables.prices.listed(PriceFilter(symbol="btc")) == [PRICE, others[0]]
    one = PriceFilter(symbol="btc", source=PRICE.source, quote="USD", kind="aggregate")
    assert await tables.prices.listed(one) == [PRICE]
    assert await tables.prices.listed(replace(one, as_of_ms=NOW + 4)) == []
    assert await tables.prices.listed(replace(one, from_ms=NOW, to_ms=NOW)) == []
    assert PRICE.price_usd == EXACT[0]
    assert replace(PRICE, quote="USDT").price_usd is None


@pytest.mark.parametrize(
    ("change", "stored"),
    [
        ({}, 0),  # nothing new within the hour
        ({"price": EXACT[1]}, 1),
        ({"timestamp_ms": NOW + 3_600_001}, 1),
        ({"source": "price.spot/kraken"}, 1),
        ({"stated": True}, 1),
    ],
)
async def test_a_price_without_a_stamp_is_stored_when_it_says_something_new(
    tables: ProviderTables, change: dict[str, Any], stored: int
) -> None:
    first = replace(PRICE, source="price.spot/binance_spot", stated=False)
    assert await tables.prices.add([first]) == 1
    later: dict[str, Any] = {"timestamp_ms": NOW + 300_000} | change
    assert await tables.prices.add([replace(first, **later)]) == stored


async def test_what_says_the_same_is_stored_once_though_it_comes_together(
    tables: ProviderTables,
) -> None:
    """As after an outage of the database, when all that waited is stored at once."""

    def at(row: Any, *minutes: int, **change: Any) -> list[Any]:
        return [replace(row, timestamp_ms=NOW + each * 60_000, **change) for each in minutes]

    unstated = replace(PRICE, stated=False)
    other = at(unstated, 5, price=Decimal(1))
    assert await tables.prices.add(at(unstated, 4, 3, 0, 1) + other + at(unstated, 7, 6)) == 3
    listed = await tables.prices.listed(PriceFilter(symbol="btc"))
    assert [(row.timestamp_ms - NOW) // 60_000 for row in listed] == [0, 5, 6]
    cmc = replace(READING, metric="fear_greed_cmc")
    assert await tables.sentiment.add(at(cmc, 2, 0, 1)) == 1
    assert await tables.chains.add_gas(at(GAS, 2, 1) + at(GAS, 3, block=21_000_001)) == 2
    assert await tables.chains.add_stats(at(STATS, 2, 1) + at(STATS, 3, height=900_001)) == 2


async def test_prices_in_pages(tables: ProviderTables) -> None:
    rows = [replace(PRICE, timestamp_ms=NOW + i // 3, source=f"s{i % 3}") for i in range(10)]
    assert await tables.prices.add(rows[::-1]) == 10
    found: list[PriceRow] = []
    after = None
    while page := await tables.prices.listed(PriceFilter(symbol="btc"), after=after, limit=4):
        found += page
        after = (page[-1].timestamp_ms, page[-1].source)
    assert found == rows


async def test_an_index_that_changes_once_a_day_is_one_row_a_day(tables: ProviderTables) -> None:
    polled = [replace(READING, known_at_ms=NOW + i * 300_000) for i in range(5)]
    assert [await tables.sentiment.add([each]) for each in polled] == [1, 0, 0, 0, 0]
    # One that stamps each answer says the same again, too.
    cmc = replace(READING, metric="fear_greed_cmc", source="x", timestamp_ms=NOW)
    assert await tables.sentiment.add([cmc]) == 1
    assert await tables.sentiment.add([replace(cmc, timestamp_ms=NOW + 900_000)]) == 0
    assert await tables.sentiment.add([replace(cmc, timestamp_ms=NOW + 1, value=Decimal(1))]) == 1
    assert await tables.sentiment.add([replace(cmc, timestamp_ms=NOW + DAY, value=Decimal(1))]) == 1
    which = SentimentFilter(metric="fear_greed_altme")
    assert await tables.sentiment.listed(which) == [READING]
    everything = await tables.sentiment.listed(SentimentFilter())
    assert len(everything) == 4
    assert all(a.timestamp_ms <= b.timestamp_ms for a, b in pairwise(everything))


async def test_stories_are_stored_once_and_edited_in_place(tables: ProviderTables) -> None:
    assert await tables.news.add([STORY]) == 1
    later = replace(STORY, known_at_ms=NOW + 9, changed_at_ms=NOW + 9)
    assert await tables.news.add([later]) == 0
    assert await tables.news.listed(NewsFilter()) == [STORY]
    edited = replace(later, title="Edited", via=("news/rss_decrypt",))
    assert await tables.news.add([edited]) == 0
    (found,) = await tables.news.listed(NewsFilter())
    both = ("news/rss_coindesk", "news/rss_decrypt")
    assert found == replace(STORY, title="Edited", via=both, changed_at_ms=NOW + 9)


def carried(place: int, **fields: Any) -> NewsRow:
    """A story of one title, told by one of many publishers."""
    told: dict[str, Any] = {
        "id": f"{place:064x}", "title": "Ether falls as the market turns", "source": f"P{place}",
        "url": f"https://p{place}.example/", "via": (f"news/p{place}",), "published_at_ms": NOW,
    }  # fmt: skip
    return replace(STORY, **told | fields)


async def test_a_story_under_another_address_is_that_which_is_stored(
    tables: ProviderTables,
) -> None:
    first = carried(1)
    assert await tables.news.add([first]) == 1
    later = carried(
        2,
        title="ETHER FALLS as the market turns!",
        published_at_ms=NOW + DAY,
        known_at_ms=NOW + DAY,
        changed_at_ms=NOW + DAY,
    )
    for _ in range(2):
        assert await tables.news.add([later]) == 0
    via = ("news/p1", "news/p2")
    assert await tables.news.listed(NewsFilter()) == [
        replace(first, via=via, changed_at_ms=NOW + DAY)
    ]


@pytest.mark.parametrize("time_ms", [NOW + 2 * DAY, NOW - 2 * DAY])
async def test_a_title_of_two_days_before_or_after_is_another_story(
    tables: ProviderTables, time_ms: int
) -> None:
    assert await tables.news.add([carried(1)]) == 1
    assert await tables.news.add([carried(2, published_at_ms=time_ms)]) == 1


async def test_a_short_title_makes_no_two_stories_one(tables: ProviderTables) -> None:
    assert await tables.news.add([carried(1, title="Market wrap")]) == 1
    assert await tables.news.add([carried(2, title="Market wrap")]) == 1


async def test_of_one_batch_the_earliest_stands(tables: ProviderTables) -> None:
    assert await tables.news.add([carried(1), carried(2, published_at_ms=NOW - 1)]) == 1
    (found,) = await tables.news.listed(NewsFilter())
    assert (found.source, found.via) == ("P2", ("news/p1", "news/p2"))


async def test_processes_that_store_one_story_at_once_store_it_once(
    tables: ProviderTables, database_url: str
) -> None:
    """Each has a connection of its own, and each a story under another address."""
    others = [Database(database_url) for _ in range(3)]
    try:
        stores = [tables, *(each.providers for each in others)]
        added = await asyncio.gather(
            *(each.news.add([carried(place)]) for place, each in enumerate(stores))
        )
    finally:
        for each in others:
            await each.aclose()
    assert sorted(added) == [0, 0, 0, 1]
    (found,) = await tables.news.listed(NewsFilter())
    assert found.via == tuple(f"news/p{place}" for place in range(4))


async def test_stories_by_asset_source_and_time_in_pages(tables: ProviderTables) -> None:
    stories = [
        replace(
            STORY, id=f"{i:064x}", published_at_ms=None if i == 3 else NOW - i // 2,
            known_at_ms=NOW - i // 2, assets=("btc", "eth")[: 1 + i % 2],
        )
        for i in range(8)
    ]  # fmt: skip
    assert await tables.news.add(stories) == 8
    newest = sorted(stories, key=lambda each: (each.known_at_ms, each.id), reverse=True)
    assert await tables.news.listed(NewsFilter(), offset=2, limit=3) == newest[2:5]
    assert (
        await tables.news.listed(NewsFilter(), before=(newest[4].known_at_ms, newest[4].id))
        == newest[5:]
    )
    about = await tables.news.listed(NewsFilter(assets=["eth", "sol"]))
    assert about == [each for each in newest if "eth" in each.assets]
    assert await tables.news.listed(NewsFilter(source="Nobody")) == []
    since = await tables.news.listed(NewsFilter(since_ms=NOW - 1))
    assert since == [each for each in newest if each.known_at_ms >= NOW - 1]


async def test_fees_and_statistics_are_exact_and_stored_when_they_change(
    tables: ProviderTables, database_url: str
) -> None:
    assert await tables.chains.add_gas([GAS]) == 1
    later = replace(GAS, timestamp_ms=NOW + 1)
    assert await tables.chains.add_gas([later]) == 0
    assert await tables.chains.add_gas([replace(later, block=21_000_001)]) == 1
    assert await tables.chains.add_stats([STATS]) == 1
    assert await tables.chains.add_stats([replace(STATS, timestamp_ms=NOW + 1)]) == 0
    session = await asyncpg.connect(database_url)
    try:
        fees = await session.fetch("SELECT timestamp, block, fees FROM gas_prices ORDER BY block")
        stats = await session.fetch("SELECT timestamp, height, metrics FROM blockchain_stats")
    finally:
        await session.close()
    exact = {"base_fee_wei": "1152921504606846977", "priority_fast_wei": "0"}
    assert [(row["timestamp"], row["block"], json.loads(row["fees"])) for row in fees] == [
        (NOW, 21_000_000, exact),
        (NOW + 1, 21_000_001, exact),
    ]
    (only,) = stats
    assert (only["timestamp"], only["height"]) == (NOW, 900_000)
    assert json.loads(only["metrics"]) == {
        "difficulty": {"value": "155973032196071.9", "unit": "1"}
    }


async def test_whales_come_with_the_cursor_which_never_goes_back(tables: ProviderTables) -> None:
    moved = WhaleCursor(chain="ethereum", block=10, block_hash="0xab", changed_at_ms=NOW)
    small = replace(WHALE, index=4, value_usd=None)
    assert await tables.whales.add([WHALE, small], moved) == 2
    assert await tables.whales.add([WHALE], replace(moved, block=9, block_hash=None)) == 0
    assert await tables.whales.cursor("ethereum") == moved
    assert await tables.whales.cursor("tron") is None
    assert await tables.whales.listed(WhaleFilter()) == [small, WHALE]
    assert await tables.whales.listed(WhaleFilter(min_usd=Decimal("2000000.5"))) == [WHALE]
    assert await tables.whales.listed(WhaleFilter(min_usd=Decimal("2000000.51"))) == []
    key = (small.timestamp_ms, small.tx_hash, small.index)
    assert await tables.whales.listed(WhaleFilter(chain="ethereum"), before=key) == [WHALE]


async def test_transfers_whose_store_fails_move_no_cursor(tables: ProviderTables) -> None:
    moved = WhaleCursor(chain="ethereum", block=10, block_hash=None, changed_at_ms=NOW)
    with pytest.raises(Exception, match="out of int32 range"):
        await tables.whales.add([replace(WHALE, index=2**40)], moved)
    assert await tables.whales.cursor("ethereum") is None


async def test_switches_attempts_and_usage(tables: ProviderTables, database_url: str) -> None:
    await tables.conduct.switch("news/rss_u.today", False, at_ms=NOW, by="an operator")
    await tables.conduct.switch("news/rss_u.today", None, at_ms=NOW, by="an operator")
    await tables.conduct.switch("rpc.bsc/a", True, at_ms=NOW, by="an operator")
    assert await tables.conduct.switches() == {"rpc.bsc/a": True}
    await tables.conduct.switch("rpc.bsc/b", False, at_ms=NOW, by="an operator")
    turned = [f"rpc.bsc/{name}" for name in "abc"]
    assert [
        await tables.conduct.turn_on(each, at_ms=NOW, by="a probe")
        for each in (*turned, "news/rss_u.today")
    ] == [True, False, True, True]
    assert await tables.conduct.switches() == {
        "rpc.bsc/a": True,
        "rpc.bsc/b": False,
        "rpc.bsc/c": True,
        "news/rss_u.today": True,
    }
    for each in ("rpc.bsc/b", "rpc.bsc/c", "news/rss_u.today"):
        await tables.conduct.switch(each, None, at_ms=NOW, by="an operator")
    good = AttemptRow(
        resource="rpc.bsc/a", at_ms=NOW, outcome="ok", status=200, ms=12, message=None, host="h"
    )
    bad = replace(good, at_ms=NOW + 1, outcome="transient", status=None, message="reset")
    assert await tables.conduct.add_attempts([bad, good]) == 2
    used = UsageRow(
        provider="cmc", key="none", window_s=86_400, window_start_ms=NOW, used=7, quantity=333,
        changed_at_ms=NOW,
    )  # fmt: skip
    await tables.conduct.put_usage([used])
    await tables.conduct.put_usage([replace(used, used=5)])
    session = await asyncpg.connect(database_url)
    try:
        did = await session.fetchrow("SELECT * FROM providers WHERE id = 'rpc.bsc/a'")
        counted = await session.fetchval("SELECT used FROM rate_limit_usage")
    finally:
        await session.close()
    assert did is not None
    assert (did["enabled"], did["last_error"], counted) == (True, "reset", 7)


async def test_old_rows_are_forgotten_attempts_after_a_week(
    tables: ProviderTables, database_url: str
) -> None:
    old = NOW - 40 * DAY
    for age, symbol in ((old, "old"), (NOW, "new")):
        await tables.prices.add([replace(PRICE, symbol=symbol, known_at_ms=age)])
        attempt = AttemptRow(
            resource=symbol, at_ms=age + 30 * DAY, outcome="ok", status=200, ms=1, message=None,
            host="h",
        )  # fmt: skip
        await tables.conduct.add_attempts([attempt])
    removed = await tables.forget(NOW - 30 * DAY, now_ms=NOW)
    assert removed["market_prices"] == 1
    assert removed["connection_attempts"] == 1
    assert sum(removed.values()) == 2
    assert await tables.prices.listed(PriceFilter(symbol="old")) == []
    assert len(await tables.prices.listed(PriceFilter(symbol="new"))) == 1
