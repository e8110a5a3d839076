"""The stored base of an exchange: read back as it was, and a damaged one counts as absent."""

import contextlib
import re
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents.base import BaseBuilder, decode_bases
from documents.chunks import KeptMarket
from documents.names import base_name
from documents.text import DocumentError
from market.base import Base, extended, with_stream
from market.markets import Exchange, Market
from tests.fixtures.base_rows import MIDNIGHT, STEP_MS, base_of, five, same

BTC = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT")
ETH = Market(Exchange.BYBIT, "ETHUSDT", "ETH", "USDT")
AS_OF = MIDNIGHT + 8 * STEP_MS + 5


def some() -> Base:
    """Holes with and without open interest, a gap that no pass read, and lost digits."""
    base = base_of([0, 2, 3], 3 * STEP_MS + 5)
    answer = [five(7, turnover="12345678901234567.5"), five(8)]
    base = extended(base, answer, asked_ms=MIDNIGHT + 6 * STEP_MS, as_of_ms=AS_OF)
    return base.with_interest([(MIDNIGHT + 6 * STEP_MS, 7.5)], AS_OF - 1)


def stored(*bases: tuple[Market, Base], kept: dict[str, KeptMarket] | None = None) -> bytes:
    builder = BaseBuilder(Exchange.BYBIT, kept)
    for market, base in bases:
        builder.add(market, base)
    found = builder.finish_deflated(version=AS_OF, as_of_ms=AS_OF, updated_at_ms=AS_OF + 9)
    return found.inflate()


def test_it_is_read_back_as_it_was() -> None:
    base, other = some(), base_of(range(5, 9), 8 * STEP_MS)
    found = decode_bases(stored((ETH, other), (BTC, base)), Exchange.BYBIT)
    assert list(found) == [BTC.key, ETH.key]
    assert same(found[BTC.key], base)
    assert same(found[ETH.key], other)
    empty = extended(None, [], asked_ms=AS_OF, as_of_ms=AS_OF)
    assert same(decode_bases(stored((BTC, empty)), Exchange.BYBIT)[BTC.key], empty)
    assert decode_bases(stored(), Exchange.BYBIT) == {}


def test_releases_before_read_the_candles_of_streams_again() -> None:
    base = with_stream(some(), [five(8)], five(9), as_of_ms=AS_OF + STEP_MS)
    text = stored((BTC, base))
    assert same(decode_bases(text, Exchange.BYBIT)[BTC.key], base)
    # They know no such name, and write none: then nothing says that these are final.
    without, count = re.subn(rb',"streamed":\[[0-9,]+\]', b"", text)
    assert count == 1
    theirs = decode_bases(without, Exchange.BYBIT)[BTC.key]
    assert not theirs.streamed.any()
    assert theirs.unsettled_ms() <= MIDNIGHT + 8 * STEP_MS


def test_its_form() -> None:
    document = orjson.loads(stored((BTC, some())))
    market = document.pop("markets")[0]
    assert base_name(Exchange.BYBIT) == "base:bybit"
    columns = ["open_time", "open", "high", "low", "close", "volume", "turnover"]
    assert document == {
        "timeframe": "base:bybit",
        "interval_ms": 300_000,
        "version": AS_OF,
        "as_of": AS_OF,
        "updated_at": AS_OF + 9,
        "last_closed_open_time": MIDNIGHT + 7 * STEP_MS,
        "source": "collected",
        "columns": [*columns, "open_interest", "read_at"],
        "missing": [],
    }
    assert list(market)[:4] == ["exchange", "symbol", "base", "quote"]
    assert list(market.values())[:4] == ["bybit", "BTCUSDT", "BTC", "USDT"]
    assert market["rows"][0] == [MIDNIGHT, 100, 102, 99, 100.5, 1.5, 150.25, 5, MIDNIGHT + 900_005]
    assert market["holes"] == [
        [MIDNIGHT + STEP_MS, MIDNIGHT + 900_005, 5.0],
        [MIDNIGHT + 4 * STEP_MS, 0, None],
        [MIDNIGHT + 5 * STEP_MS, 0, None],
        [MIDNIGHT + 6 * STEP_MS, AS_OF, 7.5],
    ]
    assert market["lost"] == [MIDNIGHT + 7 * STEP_MS]
    assert (market["checked_at"], market["interest_at"]) == (AS_OF, AS_OF - 1)


def damaged(change: Any) -> bytes:
    document = orjson.loads(stored((BTC, some()), (ETH, base_of(range(5, 9), 8 * STEP_MS))))
    change(document["markets"][0])
    return orjson.dumps(document)


@pytest.mark.parametrize(
    "change",
    [
        lambda market: market["rows"].pop(),
        lambda market: market["rows"].pop(1),
        lambda market: market["rows"].insert(0, market["rows"][0]),
        lambda market: market["rows"][0].pop(),
        lambda market: market["rows"][0].__setitem__(0, MIDNIGHT + 1),
        lambda market: market["rows"][0].__setitem__(1, None),
        lambda market: market["rows"][0].__setitem__(8, None),
        lambda market: market["rows"][0].__setitem__(8, -1),
        lambda market: market["rows"][0].__setitem__(8, AS_OF + 1),
        lambda market: market["rows"][0].__setitem__(7, "x"),
        lambda market: market["holes"].pop(),
        lambda market: market["holes"][0].pop(),
        lambda market: market["holes"].append([MIDNIGHT, 0, None]),
        lambda market: market["lost"].append(MIDNIGHT + STEP_MS),
        lambda market: market["lost"].append(MIDNIGHT - STEP_MS),
        lambda market: market.pop("holes"),
        lambda market: market.pop("lost"),
        lambda market: market.__setitem__("checked_at", AS_OF + STEP_MS),
        lambda market: market.__setitem__("checked_at", 10**17),
        lambda market: market.__setitem__("checked_at", str(AS_OF)),
        lambda market: market["rows"][0].__setitem__(0, 1e19),
        lambda market: market["holes"][0].__setitem__(0, None),
        lambda market: market["holes"][0].__setitem__(0, -1e19),
        lambda market: market.__setitem__("interest_at", AS_OF + 1),
        lambda market: market.__setitem__("interest_at", None),
        lambda market: market.update(rows=[], holes=[], lost=[]),
    ],
)
def test_a_damaged_market_counts_as_absent(change: Any) -> None:
    assert list(decode_bases(damaged(change), Exchange.BYBIT)) == [ETH.key]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        stored()[:-1],
        stored().replace(b'"read_at"', b'"funding_rate"'),
        stored().replace(b"base:bybit", b"base:binance"),
    ],
)
def test_another_document_is_refused(document: bytes) -> None:
    with pytest.raises(DocumentError):
        decode_bases(document, Exchange.BYBIT)


def test_closed_chunks_are_kept_from_pass_to_pass() -> None:
    kept: dict[str, KeptMarket] = {}
    base = base_of(range(-310, 11), 10 * STEP_MS)  # a chunk begins at midnight
    stored((BTC, base), kept=kept)
    first = kept[BTC.symbol]
    answer = [five(slot) for slot in (9, 10, 11)]
    later = extended(
        base, answer, asked_ms=MIDNIGHT + 9 * STEP_MS, as_of_ms=MIDNIGHT + 11 * STEP_MS + 60_000
    )
    document = stored((BTC, later), kept=kept)
    assert len(first.chunks) >= 3
    now = kept[BTC.symbol].chunks
    assert [one is other for one, other in zip(first.chunks, now, strict=True)] == [True] * len(now)
    assert document == stored((BTC, later))
    assert same(decode_bases(document, Exchange.BYBIT)[BTC.key], later)


_TOKEN = re.compile(rb'[-0-9.]+|"[^"]*"|null|[\[\]{},:]')
_PIECES = [b"", b"null", b'"', b"[", b"]}", b"-1e999", b"1e22", b"9" * 25, b"-5", b"true", b"\xff"]


@settings(max_examples=50)
@given(st.data())
def test_whatever_is_stored_is_refused_or_read_as_a_base(data: st.DataObject) -> None:
    text = stored((BTC, some()), (ETH, base_of(range(5, 9), 8 * STEP_MS)))
    for _ in range(data.draw(st.integers(1, 3))):
        tokens = [found.span() for found in _TOKEN.finditer(text)]
        start, end = data.draw(st.sampled_from(tokens))
        begin, stop = data.draw(st.sampled_from(tokens))
        piece = data.draw(st.sampled_from([text[begin:stop], *_PIECES]))
        text = text[:start] + piece + text[end:]
    with contextlib.suppress(DocumentError):
        for base in decode_bases(text, Exchange.BYBIT).values():
            assert len(base.values) == len(base.read_ms) == len(base.lost) > 0
            assert base.first_ms % STEP_MS == 0
            assert base.newest_ms <= base.as_of_ms < base.newest_ms + STEP_MS
            assert base.read_ms.max() <= base.as_of_ms
            assert not np.isinf(base.values).any()
            assert len(base.sums.between(*np.array([[0], [len(base.values)]]))) == 1


@pytest.mark.parametrize(("slot", "column"), [(0, 2), (0, 6), (1, 6)])
@pytest.mark.parametrize("number", [np.inf, -np.inf])
def test_a_number_that_json_lacks_is_refused(slot: int, column: int, number: float) -> None:
    base = base_of([0, 2], 2 * STEP_MS)  # the second slot is a hole
    base.values[slot, column] = number
    with pytest.raises(ValueError, match=r"^bybit:BTCUSDT: its base holds a number"):
        stored((BTC, base))
