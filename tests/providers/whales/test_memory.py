"""Windows of blocks that were read: they grow, and never claim a block that nobody has read."""

from dataclasses import replace
from decimal import Decimal

import pytest

from providers.codec import decode, encode
from providers.records import WhaleTransfer
from providers.whales.memory import Memory, Window, grown
from providers.whales.scanning import Cursor, Scan
from stores.hot.redis_client import NativeStore

NOW = 1_800_000_000_000


def moved(block: int, time_ms: int = NOW) -> WhaleTransfer:
    return WhaleTransfer(
        *(),
        provider="rpc", resource="whales.evm/own", fetched_at_ms=NOW, as_of_ms=time_ms,
        chain="bsc", tx_hash=f"0x{block:x}", index=1, type="transfer", asset="usdt",
        contract=None, amount_raw=1, decimals=18, value_usd=Decimal(1), price_source=None,
        senders=(), receivers=(), block=block, time_ms=time_ms, confirmed=True,
    )  # fmt: skip


def scan(first: int, last: int, *blocks: int, cut: str | None = None, skipped: int = 0) -> Scan:
    found = tuple(moved(block) for block in blocks)
    return Scan("bsc", found, Cursor(last, f"0x{last}"), skipped, first, cut)


def window(first: int, last: int, *blocks: int) -> Window:
    made = grown(None, scan(first, last, *blocks), NOW - 60_000)
    assert made is not None
    return made


def told(made: Window | None) -> tuple[int, int, set[int | None]]:
    assert made is not None
    return made.first, made.cursor.block, {each.block for each in made.transfers}


def test_a_scan_that_goes_on_makes_the_window_longer() -> None:
    assert told(grown(window(1, 9, 3, 9), scan(10, 20, 11), NOW)) == (1, 20, {3, 9, 11})


def test_blocks_that_were_taken_back_are_read_anew() -> None:
    assert told(grown(window(1, 9, 3, 8), scan(6, 12, 9), NOW)) == (1, 12, {3, 9})


def test_a_hole_begins_another_window() -> None:
    assert told(grown(window(1, 9, 3), scan(15, 20, 16, 17, skipped=5), NOW)) == (15, 20, {16, 17})


def test_what_is_older_than_an_hour_is_forgotten_with_its_blocks() -> None:
    old = scan(1, 9)
    old = Scan("bsc", (moved(3, NOW - 3_600_001), moved(7)), old.cursor, 0, 1)
    assert told(grown(grown(None, old, NOW), scan(10, 11), NOW)) == (4, 11, {7})


def test_a_scan_that_was_cut_short_does_not_make_it_complete() -> None:
    made = grown(window(1, 9), scan(10, 12, cut="3 of 9 blocks were read"), NOW)
    assert made is not None
    assert (made.read_at_ms, made.complete_at_ms) == (NOW, NOW - 60_000)


def test_blocks_without_the_coin_are_counted_as_long_as_the_window_has_them() -> None:
    first = replace(scan(1, 9, 3), coin_left=4)
    made = grown(window(0, 0), first, NOW)
    assert made is not None and made.coin_blocks_left == 4
    made = grown(made, replace(scan(10, 20, 11), coin_left=3), NOW)
    assert made is not None and made.coin_blocks_left == 7
    anew = grown(made, scan(30, 40), NOW)  # behind a hole
    assert anew is not None and anew.coin_blocks_left == 0


@pytest.mark.parametrize(
    ("cursor", "start", "blocks"),
    [
        (None, 9, {3, 7, 9}),
        (Cursor(9, "0x9"), 9, set()),
        (Cursor(9), 9, set()),
        (Cursor(9, "0xother"), 9, {7, 9}),  # its block was taken back: two before it are told again
        (Cursor(6), 9, {7, 9}),
        (Cursor(0), 9, {3, 7, 9}),
        (Cursor(12), 12, set()),
    ],
)
def test_who_stood_in_the_window_goes_on_at_its_end(
    cursor: Cursor | None, start: int, blocks: set[int]
) -> None:
    begin, known = window(1, 9, 3, 7, 9).after(cursor, 4)
    assert (begin.block, {each.block for each in known}) == (start, blocks)


def test_who_stood_before_the_window_reads_all_that_lies_between() -> None:
    begin, known = window(5, 9, 7).after(Cursor(2), 4)
    assert (begin, known) == (Cursor(2), ())


async def test_it_is_kept_for_all_processes_and_never_goes_back(redis_url: str) -> None:
    store = NativeStore(redis_url, client_name="test")
    memory, whole = Memory(store), replace(window(1, 9, 3, 7), coins_left=((9, 2),))
    assert await memory.read("bsc", 5) is None
    await memory.keep("bsc", 5, whole)
    await memory.keep("bsc", 5, window(1, 8, 3))
    assert await memory.read("bsc", 5) == whole
    assert await memory.read("bsc", 6) is None
    await store.aclose()


def test_every_record_is_read_as_it_was_written() -> None:
    assert decode(encode(moved(3))) == moved(3)
