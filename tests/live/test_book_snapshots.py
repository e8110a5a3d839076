"""Snapshots of order books over REST: where they are fetched, and what is read of them."""

from typing import Final

import pytest

from live.book_rules import BookRule
from live.errors import UnreadableMessage
from live.events import BookEvent
from live.exchanges import STREAM_VENUES

BODIES: Final = {
    "binance": (
        b'{"lastUpdateId":600859605486,"E":1626992741242,"T":1626992741238,'
        b'"bids":[["0.01731","57618"]],"asks":[["0.01732","74607"],["0.01733","1"]]}'
    ),
    "okx": (
        b'{"code":"0","msg":"","data":[{"asks":[["41006.8","0.60038921","0","1"]],"bids":[["41006.3'
        b'","0.30178218","0","2"]],"ts":"1629966436396","seqId":3235851742}]}'
    ),
}
PATHS: Final = {
    "binance": "/fapi/v1/depth?symbol=BTCUSDT&limit=1000",
    "bybit": None,
    "okx": "/api/v5/market/books?instId=BTC-USDT-SWAP&sz=400",
}
BOOKS: Final = {
    "binance": BookEvent(
        *("BTCUSDT", 1626992741242, True),
        [("0.01731", "57618")],
        [("0.01732", "74607"), ("0.01733", "1")],
        last_id=600859605486,
    ),
    "okx": BookEvent(
        *("BTC-USDT-SWAP", 1629966436396, True),
        [("41006.3", "0.30178218")],
        [("41006.8", "0.60038921")],
        last_id=3235851742,
    ),
}


def rule_of(exchange: str) -> BookRule:
    return STREAM_VENUES[exchange].book


def read(exchange: str, body: bytes) -> BookEvent:
    reader = rule_of(exchange).read_snapshot
    assert reader is not None
    return reader(STREAM_VENUES[exchange].heartbeat_symbol, body)


@pytest.mark.parametrize("exchange", PATHS)
def test_a_snapshot_has_its_path(exchange: str) -> None:
    path = rule_of(exchange).snapshot_path
    symbol = STREAM_VENUES[exchange].heartbeat_symbol
    assert (path(symbol) if path is not None else None) == PATHS[exchange]


def test_a_name_of_other_letters_is_escaped() -> None:
    path = rule_of("binance").snapshot_path
    assert path is not None
    assert path("币&x") == "/fapi/v1/depth?symbol=%E5%B8%81%26x&limit=1000"


@pytest.mark.parametrize("exchange", BODIES)
def test_a_snapshot_is_read(exchange: str) -> None:
    assert read(exchange, BODIES[exchange]) == BOOKS[exchange]


@pytest.mark.parametrize(
    ("exchange", "old", "new"),
    [
        ("binance", b'"', b""),
        ("binance", b"0.01731", b"0"),
        ("binance", b"600859605486", b"null"),
        ("binance", b"[[", b"[" * 100_000),
        ("okx", b'"', b""),
        ("okx", b"41006.8", b"-1"),
        ("okx", b'"seqId":3235851742', b'"other":1'),
        ("okx", b'"code":"0"', b'"code":"51001"'),
        ("okx", b'"data":[', b'"data":[],"was":['),
        ("okx", b"[[", b"[" * 100_000),
    ],
)
def test_a_snapshot_that_cannot_be_is_refused(exchange: str, old: bytes, new: bytes) -> None:
    assert old in BODIES[exchange]
    with pytest.raises(UnreadableMessage) as caught:
        read(exchange, BODIES[exchange].replace(old, new))
    symbol = STREAM_VENUES[exchange].heartbeat_symbol
    assert str(caught.value).startswith(f"{exchange}:{symbol}: ")
