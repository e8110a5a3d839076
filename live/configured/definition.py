"""CollectorDefinition: what a file says of one collector, and its form in the stores."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

# Part of keys, addresses and log lines.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
NAME_RULE: Final = (
    "must be 1 to 64 letters, digits and . _ -, and begin with a letter or digit, such as"
    " binance-majors"
)


class CollectorDefinition(msgspec.Struct, frozen=True):
    """`symbols`: as they are written, each with the exchange's own name. `timeframes`: of candles,
    none without them. `book_depth`: levels of each side of an order book. `outputs`: where the data
    points go. `enabled`: whether it runs unless something else was asked for."""

    name: str
    exchange: str
    symbols: dict[str, str]
    data_types: tuple[str, ...]
    outputs: tuple[str, ...]
    timeframes: tuple[str, ...] = ()
    book_depth: int = 50
    enabled: bool = True


def to_ascii_json(definitions: Sequence[CollectorDefinition]) -> str:
    """The definitions as a JSON list in ASCII, which a database of any encoding holds."""
    text = msgspec.json.encode(definitions).decode()
    return "".join(sign if sign.isascii() else _escaped(sign) for sign in text)


def _escaped(sign: str) -> str:
    pair = sign.encode("utf-16-be")
    return "".join(f"\\u{pair[at : at + 2].hex()}" for at in range(0, len(pair), 2))
