"""What reading a candle costs above the bare decoding of its message."""

from collections.abc import Callable
from typing import Final

import msgspec
import pytest

from live.exchanges import STREAM_VENUES
from tests.fixtures.cpu_time import least_cpu_s
from tests.live.samples import samples_of

MESSAGES: Final = 5_000
MOST_US: Final = 3.0  # above the decoding; measured: 1.7, 1.9 and 2.6


class _K(msgspec.Struct, gc=False):
    t: int
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741
    v: str
    n: int
    x: bool
    q: str


class _Data(msgspec.Struct, gc=False):
    E: int
    s: str
    k: _K


class _Binance(msgspec.Struct, gc=False):
    data: _Data


class _Row(msgspec.Struct, gc=False):
    start: int
    interval: str
    open: str
    close: str
    high: str
    low: str
    volume: str
    turnover: str
    confirm: bool


class _Bybit(msgspec.Struct, gc=False):
    topic: str
    data: list[_Row]
    ts: int


class _Arg(msgspec.Struct, gc=False):
    channel: str
    instId: str


class _Okx(msgspec.Struct, gc=False):
    arg: _Arg
    data: list[tuple[str, str, str, str, str, str, str, str, str]]


BARE: Final[dict[str, tuple[str, msgspec.json.Decoder[object]]]] = {
    "binance": ("closed", msgspec.json.Decoder(_Binance)),
    "bybit": ("forming", msgspec.json.Decoder(_Bybit)),
    "okx": ("swap forming", msgspec.json.Decoder(_Okx)),
}


def cost_s(read: Callable[[bytes], object], payload: bytes, enough_s: float) -> float:
    """CPU seconds for all messages, on a usual machine."""

    def read_all() -> None:
        for _ in range(MESSAGES):
            read(payload)

    return least_cpu_s(read_all, enough_s)


@pytest.mark.parametrize("exchange", BARE)
def test_a_candle_costs_little_above_its_decoding(exchange: str) -> None:
    name, decoder = BARE[exchange]
    payload = samples_of(exchange)[name]
    decoding_s = cost_s(decoder.decode, payload, 0.0005 * MESSAGES / 1_000)
    limit_s = decoding_s + MOST_US * MESSAGES / 1_000_000
    assert cost_s(STREAM_VENUES[exchange].read, payload, limit_s) < limit_s
