"""Random numbers that depend only on seed, name and index, so any part can be made at any time."""

import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value")
Words = NDArray[np.uint64]


def generator(seed: int, name: str, kind: str, index: int = 0) -> np.random.Generator:
    """A random generator whose stream depends only on the arguments."""
    key = zlib.crc32(f"{kind}|{name}".encode())
    return np.random.Generator(np.random.PCG64([seed & 0xFFFFFFFF, key, index & 0xFFFFFFFF]))


def draw(seed: int, name: str, kind: str, index: int, below: int) -> int:
    """One cheap integer in [0, below)."""
    text = f"{seed}|{kind}|{name}|{index}".encode()
    return (zlib.crc32(text) * 2654435761 >> 7) % below


def draws(seed: int, name: str, kind: str, indices: NDArray[np.int64]) -> Words:
    """A random 64-bit word for each index (splitmix64 of a key and the index)."""
    key = np.uint64(zlib.crc32(f"{seed}|{kind}|{name}".encode()) << 20)
    word: Words = (indices.astype(np.uint64) + key) * np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def normals(words: Words) -> NDArray[np.float64]:
    """Approximately normal numbers, one for each word: the sum of its four 16-bit parts."""
    total = np.zeros(words.shape)
    for shift in (0, 16, 32, 48):
        total += (words >> np.uint64(shift)) & np.uint64(0xFFFF)
    scaled: NDArray[np.float64] = (total - 131_070.0) / 37_837.0
    return scaled


class RecentlyUsed(Generic[Value]):
    """A cache of the `size` most recently used values."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        value = self._values.get(key)
        if value is None:
            value = make()
            self._values[key] = value
            if len(self._values) > self._size:
                self._values.popitem(last=False)
        else:
            self._values.move_to_end(key)
        return value

    def clear(self) -> None:
        self._values.clear()
