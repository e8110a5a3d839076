"""Random numbers that depend on nothing but the seed and a name: any piece, at any time."""

import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np

Value = TypeVar("Value")


def generator(seed: int, name: str, kind: str, index: int = 0) -> np.random.Generator:
    """The same stream for the same arguments, whatever was drawn before."""
    key = zlib.crc32(f"{kind}|{name}".encode())
    return np.random.Generator(np.random.PCG64([seed & 0xFFFFFFFF, key, index & 0xFFFFFFFF]))


def draw(seed: int, name: str, kind: str, index: int, below: int) -> int:
    """One cheap integer in [0, below)."""
    text = f"{seed}|{kind}|{name}|{index}".encode()
    return (zlib.crc32(text) * 2654435761 >> 7) % below


class Recent(Generic[Value]):
    """The most recently used values, at most `size` of them (a bounded memory of work done)."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        value = self._kept.get(key)
        if value is None:
            value = make()
            self._kept[key] = value
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return value

    def clear(self) -> None:
        self._kept.clear()
