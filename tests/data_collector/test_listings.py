"""Lists of contracts that contradict themselves."""

import json

import pytest

from data_collector.listings import fetch_instruments
from data_collector.run import CollectionRun
from market.markets import Exchange
from market.unread_entries import LISTED_TWICE, UnreadEntry
from tests.fixtures.exchange_answers import ANSWERS
from tests.fixtures.scripted import Scripted, query_of
from venues.errors import BadPayload, BadRequest
from venues.venue import Request

LAUNCHED_MS = 1_600_000_000_000


def listed(exchange: Exchange, entries: list[tuple[str, int]]) -> bytes:
    answers = ANSWERS[exchange]
    rows = [
        answers.contract(answers.native(name), "X") | {answers.names["launched"]: str(at)}
        for name, at in entries
    ]
    # No other page follows.
    return answers.contracts(json.dumps(rows)[1:-1]).replace(b"first%3D1", b"")


@pytest.mark.parametrize("exchange", list(Exchange))
async def test_a_symbol_listed_as_two_different_contracts_is_unread(exchange: Exchange) -> None:
    names = ["AUSDT", "BUSDT", "AUSDT", "BUSDT", "CUSDT"]
    launches = [LAUNCHED_MS, LAUNCHED_MS, LAUNCHED_MS + 9, LAUNCHED_MS, LAUNCHED_MS]
    sender = Scripted(lambda request: listed(exchange, list(zip(names, launches, strict=True))))
    unread: list[UnreadEntry] = []
    found = await fetch_instruments(CollectionRun(sender), exchange, quote="USDT", unread=unread)
    assert [instrument.market.symbol for instrument in found] == ["BUSDT", "CUSDT"]
    assert unread == [UnreadEntry("AUSDT", LISTED_TWICE, expected=True)]


def _page(names: list[str], cursor: str) -> bytes:
    answer = json.loads(listed(Exchange.BYBIT, [(name, LAUNCHED_MS) for name in names]))
    answer["result"]["nextPageCursor"] = cursor
    return json.dumps(answer).encode()


async def test_pages_of_contracts_follow_their_cursors() -> None:
    pages = {"": _page(["AUSDT"], "x"), "x": _page(["BUSDT"], "y"), "y": _page(["CUSDT"], "")}
    sender = Scripted(lambda request: pages[query_of(request).get("cursor", "")])
    found = await fetch_instruments(CollectionRun(sender), Exchange.BYBIT, quote="USDT")
    assert [instrument.market.symbol for instrument in found] == ["AUSDT", "BUSDT", "CUSDT"]
    assert [query_of(request).get("cursor") for request in sender.sent] == [None, "x", "y"]


async def test_an_empty_page_of_contracts_is_the_last_one() -> None:
    pages = [_page(["AUSDT"], "x"), _page([], "z")]
    sender = Scripted(lambda request: pages.pop(0))
    found = await fetch_instruments(CollectionRun(sender), Exchange.BYBIT, quote="USDT")
    assert ([instrument.market.symbol for instrument in found], pages) == (["AUSDT"], [])


async def test_cursors_that_repeat_are_given_up() -> None:
    pages = {"": _page(["AUSDT"], "x"), "x": _page(["BUSDT"], "y"), "y": _page(["CUSDT"], "x")}
    sender = Scripted(lambda request: pages[query_of(request).get("cursor", "")])
    cause = "bybit instruments: paging did not end: no page was the last one"
    with pytest.raises(BadPayload, match=cause):
        await fetch_instruments(CollectionRun(sender), Exchange.BYBIT, quote="USDT")
    assert len(sender.sent) == 3


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "ignored"])
async def test_a_cursor_that_must_not_be_encoded_is_sent_as_it_came(refused: bool) -> None:
    """Else it is refused, or the first page comes again."""

    def answer(request: Request) -> bytes:
        if "cursor=a%2Cb" in request.target:
            return _page(["BUSDT"], "")
        if "cursor" in request.target and refused:
            raise BadRequest("no such cursor", exchange=Exchange.BYBIT)
        return _page(["AUSDT"], "a%2Cb")

    sender = Scripted(answer)
    found = await fetch_instruments(CollectionRun(sender), Exchange.BYBIT, quote="USDT")
    assert [instrument.market.symbol for instrument in found] == ["AUSDT", "BUSDT"]
    assert len(sender.sent) == 3
