"""OKX's list of swaps, which tells how many coins one contract is."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from live.contracts import ContractList
from live.okx.messages import EXCHANGE
from live.reading import not_in_format, positive
from venues.entries import DECODE_ERRORS, lenient


class _Instrument(msgspec.Struct):
    instId: str
    ctType: str
    ctVal: str
    ctMult: str


class _Answer(msgspec.Struct):
    code: str
    msg: str = ""
    data: list[msgspec.Raw] = []


_ANSWER: Final = lenient(_Answer)
_INSTRUMENT: Final = lenient(_Instrument)


def _read(body: bytes) -> Mapping[str, Decimal]:
    """{"code":"0","msg":"","data":[{"instId":"BTC-USDT-SWAP","ctType":"linear","ctVal":"0.01",
    "ctMult":"1", ...}]}"""
    try:
        answer = _ANSWER.decode(body)
    except DECODE_ERRORS as error:
        raise not_in_format(EXCHANGE, body, error) from None
    if answer.code != "0":
        raise not_in_format(EXCHANGE, body, None)
    sizes = (_size(row) for row in answer.data)
    return {symbol: size for symbol, size in sizes if size is not None}


def _size(row: msgspec.Raw) -> tuple[str, Decimal | None]:
    """The base units in one contract; None if the row does not tell them."""
    try:
        instrument = _INSTRUMENT.decode(row)
    except DECODE_ERRORS:
        return "", None
    value, times = positive(instrument.ctVal), positive(instrument.ctMult)
    if instrument.ctType != "linear" or value is None or times is None:
        return instrument.instId, None
    return instrument.instId, Decimal(value) * Decimal(times)


CONTRACTS: Final = ContractList("/api/v5/public/instruments?instType=SWAP", _read)
