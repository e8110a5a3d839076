"""What a backfill may use of the budgets follows from all collected markets, not from its own."""

from collections.abc import AsyncIterator

import pytest

from config import load_settings
from database import Database
from history.backfill.requesting import shares_of
from market.markets import Exchange, ListedMarket, Market

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    yield found
    await found.aclose()


async def test_all_collected_markets_leave_what_their_collections_need(database: Database) -> None:
    settings = load_settings(rate_fraction=0.9, backfill_fraction=0.5)
    # Without any market, and of what is not spent at once: the setting's fraction.
    shares = await shares_of(database, settings)
    assert {*shares.values()} == {0.5}
    for exchange in (BINANCE, BYBIT):
        listed = [
            ListedMarket(Market(exchange, f"M{number}USDT", f"M{number}", "USDT"), float(number))
            for number in range(600)
        ]
        await database.markets.save_markets(exchange, listed, seen_at_ms=1)
    shares = await shares_of(database, settings)
    # 900 requests in 300 s; a close needs 600 and some again.
    assert shares[BINANCE, "open_interest"] == pytest.approx((900 - 660) / 900)
    others = {share for where, share in shares.items() if where != (BINANCE, "open_interest")}
    assert others == {0.5}
