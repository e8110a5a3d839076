"""What one request asks of a simulated provider, and what the provider sees of the world."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson

from simulator.answers import Answer, dump
from simulator.providers.assets import ASSETS
from simulator.providers.latent import LatentPrices
from simulator.randomness import draw

_DAY_MS = 86_400_000
_MINUTE_MS = 60_000
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Lies:
    """What is not as it is in a provider's answer. `factor`: its values are so many times the true
    ones; `age_s`: all of it is as it was then, its stamps too; `blocks`: its nodes are so far
    behind; `chain_id`: that of another chain; `blank`: it knows nothing that is asked about;
    `assets`: whose prices alone are wrong (empty: all)."""

    factor: float = 1.0
    age_s: float = 0.0
    blocks: int = 0
    chain_id: int | None = None
    blank: bool = False
    assets: frozenset[str] = frozenset()


TRUTH = Lies()


@dataclass(frozen=True, slots=True)
class View:
    """The world as one provider tells it. `name` distinguishes providers: their prices differ by a
    few hundredths of a percent, their nodes by a block."""

    seed: int
    name: str
    true_now_ms: int
    prices: LatentPrices
    lies: Lies = TRUTH

    @property
    def now_ms(self) -> int:
        return self.true_now_ms - int(self.lies.age_s * 1000)

    @property
    def now_s(self) -> int:
        return self.now_ms // 1000

    def knows(self, symbol: str) -> bool:
        return not self.lies.blank and symbol in ASSETS

    def usd(self, symbol: str, spread: int = 3) -> float:
        """The price that this provider tells, at most `spread` basis points from the true one."""
        minute = self.now_ms // _MINUTE_MS
        basis = draw(self.seed, self.name, f"basis {symbol}", minute, 2 * spread + 1) - spread
        price = (
            self.prices.now_usd(symbol, self.now_ms)
            if not self.lies.age_s
            else (self.prices.usd(symbol, self.now_ms))
        )
        return rounded(price * (1 + basis / 10_000) * self._factor(symbol))

    def change_24h(self, symbol: str) -> float:
        """The change of the last day, in percent."""
        before = self.prices.usd(symbol, self.now_ms - _DAY_MS)
        return round((self.prices.usd(symbol, self.now_ms) / before - 1) * 100, 6)

    def volume_usd(self, symbol: str) -> float:
        rank = ASSETS[symbol].rank if symbol in ASSETS else 300
        day = self.now_ms // _DAY_MS
        return rounded(4e10 / rank**1.1 * (0.7 + draw(self.seed, symbol, "volume", day, 600) / 1e3))

    def market_cap(self, symbol: str) -> float:
        supply = ASSETS[symbol].supply if symbol in ASSETS else 10**9
        return rounded(self.prices.usd(symbol, self.now_ms) * supply * self._factor(symbol))

    def value(self, number: float) -> float:
        """Any other value, as this provider tells it."""
        return number * self.lies.factor

    def amount(self, number: int) -> int:
        """An integer amount, as this provider tells it."""
        return number if self.lies.factor == 1 else int(number * self.lies.factor)

    def _factor(self, symbol: str) -> float:
        hit = not self.lies.assets or symbol.lower() in self.lies.assets
        return self.lies.factor if hit else 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, with the simulated host taken from its path. `headers` have lower-case names.
    `words`: the groups of the path's pattern."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    view: View
    words: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The body's JSON, None if it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


def listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def rounded(value: float) -> float:
    """To eight significant digits."""
    if not value or not math.isfinite(value):
        return value
    return round(value, _DIGITS - 1 - math.floor(math.log10(abs(value))))


def plain_text(value: float) -> str:
    """A price as decimal text without an exponent."""
    return f"{Decimal(repr(rounded(value))):f}"


def json_answer(value: object, status: int = 200) -> Answer:
    try:
        return Answer(status, dump(value))
    except TypeError:  # integers of more than 64 bits, such as wei
        return Answer(status, json.dumps(value, separators=(",", ":")).encode())


def text_answer(text: str, status: int = 200) -> Answer:
    return Answer(status, text.encode(), "text/plain; charset=utf-8")
