"""Lists of contracts that contradict themselves."""

import json
from typing import Any

import pytest

from data_collector.listings import fetch_instruments
from data_collector.run import CollectionRun
from market.markets import Exchange
from market.unread_entries import LISTED_TWICE, UnreadEntry
from tests.fixtures.scripted import Scripted

LAUNCHED_MS = 1_600_000_000_000


def listed(exchange: Exchange, entries: list[tuple[str, int]]) -> bytes:
    if exchange is Exchange.BINANCE:
        facts: dict[str, Any] = {"contractType": "PERPETUAL", "status": "TRADING"}
        facts |= {"baseAsset": "X", "quoteAsset": "USDT", "marginAsset": "USDT"}
        symbols = [{**facts, "symbol": name, "onboardDate": at} for name, at in entries]
        return json.dumps({"symbols": symbols}).encode()
    facts = {"contractType": "LinearPerpetual", "status": "Trading", "fundingInterval": 480}
    facts |= {"baseCoin": "X", "quoteCoin": "USDT", "settleCoin": "USDT"}
    rows = [{**facts, "symbol": name, "launchTime": str(at)} for name, at in entries]
    return json.dumps({"retCode": 0, "result": {"list": rows, "nextPageCursor": ""}}).encode()


@pytest.mark.parametrize("exchange", list(Exchange))
async def test_a_symbol_listed_as_two_different_contracts_is_unread(exchange: Exchange) -> None:
    names = ["AUSDT", "BUSDT", "AUSDT", "BUSDT", "CUSDT"]
    launches = [LAUNCHED_MS, LAUNCHED_MS, LAUNCHED_MS + 9, LAUNCHED_MS, LAUNCHED_MS]
    sender = Scripted(lambda request: listed(exchange, list(zip(names, launches, strict=True))))
    unread: list[UnreadEntry] = []
    found = await fetch_instruments(CollectionRun(sender), exchange, quote="USDT", unread=unread)
    assert [instrument.market.symbol for instrument in found] == ["BUSDT", "CUSDT"]
    assert unread == [UnreadEntry("AUSDT", LISTED_TWICE, expected=True)]
