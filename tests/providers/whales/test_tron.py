"""Transfers on Tron: pages followed to the end, and a scan that ends early loses nothing."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from providers.assets import load
from providers.errors import ErrorClass, ProviderError
from providers.http import Response
from providers.questions import Question
from providers.requests import PreparedRequest
from providers.resources import Resource
from providers.whales.explorers import Explorers
from providers.whales.scanning import Cursor, Deadline, Priced, Scan
from providers.whales.tron import TronScan
from tests.fixtures.clock import ManualClock
from tests.providers.asking import row

A, B = "0x" + "a1" * 20, "0x" + "b2" * 20
HEAD = 1_000
GREAT = 2_000_000 * 10**6


def event(block: int, index: int = 0, raw: int = GREAT) -> dict[str, Any]:
    return {
        "block_number": block,
        "block_timestamp": block * 3_000,
        "transaction_id": f"tx{block}-{index}",
        "event_index": index,
        "result": {"from": A, "to": B, "value": str(raw)},
    }


class FakeGrid:
    """In place of the client and of TronGrid; `marks`: whether its pages have a fingerprint."""

    def __init__(self, events: list[dict[str, Any]], *, page: int, marks: bool) -> None:
        self.clock = ManualClock()
        self.events = events
        self.page = page
        self.marks = marks
        self.pages_left = 1_000
        self.asked = self.most_asked = 0

    def prepared(self, resource: Resource, question: Question) -> list[PreparedRequest]:
        body = None if resource.body is None else json.dumps(resource.body).encode()
        headers = dict(resource.query)
        return [PreparedRequest("GET", resource.url, headers, body, question.subjects, "")]

    async def send(
        self,
        resource: Resource,
        request: PreparedRequest,
        *,
        within_s: float,
        read: Callable[[Response], Any],
    ) -> Any:
        self.asked += 1
        self.most_asked = max(self.asked, self.most_asked)
        await asyncio.sleep(0)
        self.asked -= 1
        told = self._told(request)
        return await read(Response(200, {}, json.dumps(told).encode(), self.clock.wall_ms()))

    def _told(self, request: PreparedRequest) -> Any:
        if request.url.endswith("getnowblock"):
            return self._block(HEAD)
        if request.url.endswith("getblockbynum"):
            return self._block(json.loads(request.body or b"")["num"])
        if self.pages_left == 0:
            raise ProviderError(ErrorClass.RATE_LIMITED, "too many")
        self.pages_left -= 1
        query = request.headers
        low, high = int(query["min_block_timestamp"]), int(query["max_block_timestamp"])
        told = [each for each in self.events if low <= each["block_timestamp"] <= high]
        start = int(query.get("fingerprint", "0"))
        end = start + self.page
        meta = {"fingerprint": str(end)} if self.marks and end < len(told) else {}
        return {"success": True, "data": told[start:end], "meta": meta}

    def _block(self, number: int) -> Any:
        raw = {"number": number, "timestamp": number * 3_000}
        return {"blockID": f"id{number}", "block_header": {"raw_data": raw}}


async def scanned(grid: FakeGrid, cursor: Cursor | None) -> Scan:
    async def prices(_: Any) -> dict[str, Priced]:
        return {"usdt": Priced(Decimal(1), "price.aggregate/coingecko")}

    where = row("grid.example", "whales.tron", reader="own")
    scan = TronScan(Explorers(grid), where, load(), Deadline(20))
    return await scan.run(cursor, prices, 1_000_000)


def many(first: int, last: int, each: int) -> list[dict[str, Any]]:
    return [
        event(block, index, GREAT if index == 0 else 5)
        for block in range(first, last + 1)
        for index in range(each)
    ]


@pytest.mark.parametrize("marks", [True, False])
async def test_all_pages_are_read(marks: bool) -> None:
    grid = FakeGrid(many(951, HEAD, 15), page=200, marks=marks)
    scan = await scanned(grid, Cursor(950))
    assert [each.block for each in scan.transfers] == list(range(HEAD, 950, -1))
    assert scan.cursor == Cursor(HEAD, f"id{HEAD}")


@pytest.mark.parametrize("marks", [True, False])
async def test_a_scan_that_is_cut_short_ends_at_a_whole_block(marks: bool) -> None:
    grid = FakeGrid(many(951, HEAD, 15), page=200, marks=marks)
    grid.pages_left = 2
    first = await scanned(grid, Cursor(950))
    assert first.cursor is not None
    assert first.cursor.block < HEAD
    assert [each.block for each in first.transfers] == list(range(first.cursor.block, 950, -1))
    grid.pages_left = 1_000
    second = await scanned(grid, first.cursor)
    assert [each.block for each in second.transfers] == list(range(HEAD, first.cursor.block, -1))


@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize("each", [1, 85, pytest.param(190, marks=pytest.mark.slow)])
async def test_whenever_it_is_cut_short_nothing_is_lost_or_told_twice(
    marks: bool, each: int
) -> None:
    """Blocks 970 to 975 and one at the end have nothing: their place is no hole."""
    events = [e for e in many(961, HEAD - 1, each) if not 970 <= e["block_number"] <= 975]
    due = sorted({e["block_number"] for e in events})
    whole = FakeGrid(events, page=200, marks=marks)
    scan = await scanned(whole, Cursor(960))
    assert [each.block for each in scan.transfers] == due[::-1]
    needed = 1_000 - whole.pages_left
    assert whole.most_asked == min(4, needed - 1 or 1) or each == 1
    assert needed <= 1.35 * len(events) / 200 + 6  # little is read twice
    for pages in (2, 5, 9, 14):
        grid, cursor, blocks = FakeGrid(events, page=200, marks=marks), Cursor(960), []
        for _ in range(100):
            grid.pages_left = pages
            scan = await scanned(grid, cursor)
            assert scan.cursor is not None and scan.cursor.block >= cursor.block
            cursor = scan.cursor
            blocks += sorted(moved.block or 0 for moved in scan.transfers)
            if cursor.block == HEAD:
                break
        assert blocks == due


async def test_nothing_is_asked_of_a_chain_that_has_not_grown() -> None:
    grid = FakeGrid([], page=200, marks=True)
    grid.pages_left = 0
    scan = await scanned(grid, Cursor(HEAD))
    assert (scan.transfers, scan.cursor) == ((), Cursor(HEAD))


async def test_a_transfer_has_addresses_of_tron_and_a_mint_has_no_sender() -> None:
    minted = event(990)
    minted["result"] = {"from": "0x" + "0" * 40, "to": B, "value": str(GREAT)}
    scan = await scanned(FakeGrid([event(980), minted], page=200, marks=True), Cursor(970))
    mint, plain = scan.transfers
    assert (mint.type, mint.senders, mint.receivers) == ("mint", (), plain.receivers)
    assert plain.senders[0].startswith("T")
    assert (plain.amount_raw, plain.value_usd) == (GREAT, Decimal(2_000_000))


async def test_the_first_failure_is_told() -> None:
    grid = FakeGrid(many(951, HEAD, 1), page=200, marks=True)
    grid.pages_left = 0
    with pytest.raises(ProviderError, match="too many"):
        await scanned(grid, Cursor(950))
