"""What an exchange calls a market, and the coins in a contract, outlive the run that listed it."""

from database import Database
from jobs.known_markets import Selection, load_known_markets, save_known_markets
from market.markets import Exchange, ListedMarket, Market
from stores.hot.leases import try_acquire
from tests.fixtures.upstash import OpenStore

OKX = Exchange.OKX
BTC = Market(OKX, "BTCUSDT", "BTC", "USDT", 5, "BTC-USDT-SWAP", 0.01)
PLAIN = Market(OKX, "ETHUSDT", "ETH", "USDT", 5)
SELECTION: Selection = {"exchanges": [OKX], "quote": "USDT", "markets_limit": 0}


def told(market: Market) -> tuple[str, str, float]:
    """Markets are equal without these."""
    return market.symbol, market.native, market.contract_size


async def test_the_database_keeps_them_and_takes_changes(database_url: str) -> None:
    database = Database(database_url)
    try:
        listed = [ListedMarket(market, None) for market in (BTC, PLAIN)]
        await database.markets.save_markets(OKX, listed, seen_at_ms=10)
        expected = [("BTCUSDT", "BTC-USDT-SWAP", 0.01), ("ETHUSDT", "ETHUSDT", 1.0)]
        assert [told(each) for each in await database.markets.selected(**SELECTION)] == expected
        records = await database.coin_records.list_coins(OKX)
        assert [told(each.market) for each in records] == expected
        named = await database.markets.named(["BTCUSDT"], exchanges=[OKX], quote="USDT")
        assert [told(market) for market, _ in named] == expected[:1]
        usual = Market(OKX, "BTCUSDT", "BTC", "USDT", 5)
        await database.markets.save_markets(OKX, [ListedMarket(usual, None)], seen_at_ms=20)
        (only,) = await database.markets.selected(**SELECTION)
        assert told(only) == ("BTCUSDT", "BTCUSDT", 1.0)
    finally:
        await database.aclose()


async def test_the_copy_for_runs_without_the_database_has_them(open_store: OpenStore) -> None:
    store = open_store()
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    await save_known_markets(store, lease, SELECTION, [BTC, PLAIN])
    found = await load_known_markets(store, lease, SELECTION)
    assert [told(each) for each in found] == [told(BTC), told(PLAIN)]
    await lease.release()
