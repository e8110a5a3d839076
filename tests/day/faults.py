"""What is drawn for a day: faults of the exchanges, and what each may excuse."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.names import EXCHANGES

Rule = Mapping[str, Any]
_PARTS: Final = frozenset(("klines", "open_interest", "funding_rate", "listing"))
_NONSENSE: Final = (
    "high_below_low", "negative_volume", "unsorted", "duplicate", "off_grid", "nan", "zero_price",
    "close_above_high", "disputed", "exponent", "extra_element", "blank_rate",
)  # fmt: skip
_HARMLESS: Final = ("unsorted", "duplicate", "exponent", "extra_element", "slow")


@dataclass(frozen=True, slots=True)
class Fault:
    """Rules of the simulator for some closes, or for `lasts_s` after the first.

    `exchange`, `symbol`: what they reach (None: all); `parts`: what a document may lack of these
    meanwhile; none: it must not be noticed.
    """

    kind: str
    rules: Sequence[Rule]
    exchange: str | None
    symbol: str | None = None
    parts: frozenset[str] = _PARTS
    closes: int = 1
    lasts_s: float = 0.0
    numbers: list[int] = field(default_factory=list)  # of the rules, once they are in force

    def excuses(self, exchange: str, symbol: str | None, part: str) -> bool:
        return (
            part in self.parts
            and self.exchange in (None, exchange)
            and (self.symbol is None or self.symbol == symbol)
        )

    def __str__(self) -> str:
        where = ":".join(filter(None, (self.exchange or "all", self.symbol)))
        return f"{self.kind} at {where} for {self.closes}"


def draw_fault(chance: random.Random, markets: Sequence[str]) -> Fault:
    """Any of the faults; `markets`: the keys of those that are collected."""
    draw = chance.choice(_DRAWS)
    return draw(chance, markets)


def _away(chance: random.Random, markets: Sequence[str]) -> Fault:
    exchange = chance.choice((*EXCHANGES, *EXCHANGES, None))
    rule = chance.choice(
        (
            {"kind": "reset"},
            {"kind": "status", "status": 503},
            {"kind": "html_200"},
            {"kind": "empty_body"},
            {"kind": "geo"},
            {"kind": "wrong_types"},
        )
    )
    where = {"exchange": exchange} if exchange else {}
    closes = chance.choice((1, 1, 1, 2, 3, chance.randint(4, 30)))
    return Fault(f"away ({rule['kind']})", [{**rule, **where}], exchange, closes=closes)


def _partly(chance: random.Random, markets: Sequence[str]) -> Fault:
    """Some requests of an exchange fail."""
    exchange, endpoint = chance.choice(EXCHANGES), chance.choice(("klines", "open_interest", None))
    rule: dict[str, Any] = chance.choice(
        (
            {"kind": "status", "status": 500},
            {"kind": "truncated_json"},
            {"kind": "wrong_types"},
            {"kind": "reset"},
            {"kind": "short_page"},
        )
    )
    rule = {**rule, "exchange": exchange, "probability": round(chance.uniform(0.1, 0.9), 2)}
    if endpoint:
        rule["endpoint"] = endpoint
    parts = frozenset(("open_interest",)) if endpoint == "open_interest" else _PARTS
    name = f"partly ({rule['kind']}, {endpoint}, {rule['probability']})"
    return Fault(name, [rule], exchange, parts=parts, closes=chance.choice((1, 1, 2, 5)))


def _market(chance: random.Random, markets: Sequence[str]) -> Fault:
    """Requests of one market fail, or are answered with rows that cannot be."""
    exchange, symbol = chance.choice(markets).split(":")
    endpoint = chance.choice(("klines", "klines", "open_interest", None))
    rule: dict[str, Any] = chance.choice(
        (
            {"kind": "status", "status": 400},
            {"kind": "status", "status": 451},
            {"kind": "status", "status": 500},
            {"kind": "challenge"},
            {"kind": "long_message"},
            {"kind": "deep_nesting"},
            {"kind": "short_page"},
            {"kind": "nonsense", "variant": chance.choice(_NONSENSE)},
            {"kind": "nonsense", "variant": chance.choice(_NONSENSE)},
        )
    )
    rule = {**rule, "exchange": exchange, "symbol": symbol}
    if endpoint:
        rule["endpoint"] = endpoint
    kind = rule.get("variant", rule["kind"])
    parts = frozenset(("open_interest",)) if endpoint == "open_interest" else _PARTS
    parts = frozenset() if kind in _HARMLESS else parts
    closes = chance.choice((1, 1, 1, 2, 3, chance.randint(4, 40)))
    name = f"market ({kind}, {endpoint})"
    return Fault(name, [rule], exchange, symbol, parts, closes)


def _slow(chance: random.Random, markets: Sequence[str]) -> Fault:
    exchange = chance.choice(EXCHANGES)
    rule = {"kind": "slow", "seconds": 0.15, "exchange": exchange, "probability": 0.2}
    return Fault("slow", [rule], exchange, parts=frozenset())


def _hang(chance: random.Random, markets: Sequence[str]) -> Fault:
    exchange = chance.choice(EXCHANGES)
    rule = {"kind": "hang", "seconds": 4, "exchange": exchange, "count": chance.randint(1, 2)}
    return Fault("hang", [rule], exchange)


def _refused(chance: random.Random, markets: Sequence[str]) -> Fault:
    """Limits that the exchange says are broken; a ban lasts."""
    binance, bybit, _ = EXCHANGES
    rule: dict[str, Any]
    rule, lasts_s = chance.choice(
        (
            ({"status": 429, "retry_after": chance.randint(1, 20), "exchange": binance}, 20),
            ({"status": 418, "ban_s": chance.randint(2, 400), "exchange": binance}, 400),
            ({"status": 403, "ban_s": 600, "exchange": bybit}, 600),
        )
    )
    rule = {"kind": "status", "count": 1, "after": chance.randint(0, 9), **rule}
    return Fault(f"refused ({rule['status']})", [rule], rule["exchange"], lasts_s=float(lasts_s))


def _busy(chance: random.Random, markets: Sequence[str]) -> Fault:
    count = chance.randint(1, 8)
    exchange, kind, code = chance.choice(
        (
            *(("bybit", "retcode", code) for code in (10006, 10016, 10000)),
            *(("okx", "okx_code", code) for code in (50011, 50013, 50001)),
        )
    )
    rule = {"kind": kind, "code": code, "count": count}
    return Fault(f"busy ({code})", [rule], exchange)


def _too_fast(chance: random.Random, markets: Sequence[str]) -> Fault:
    exchange = chance.choice(EXCHANGES)
    variant = chance.choice(("cloudfront", "cloudflare", "forbidden"))
    per_s = chance.randint(5, 40)
    rule = {"kind": "too_fast", "per_s": per_s, "variant": variant, "exchange": exchange}
    return Fault(f"too fast ({variant}, {per_s})", [rule], exchange, lasts_s=600.0)


def _clock(chance: random.Random, markets: Sequence[str]) -> Fault:
    """An exchange's clock is off: by its own word alone, with its headers, or as a cache's."""
    exchange, variant = chance.choice(EXCHANGES), chance.choice(("body", "date", "cached"))
    far_ms = chance.choice((12_000, 60_000, 300_000, 3 * 3_600_000, 400 * 86_400_000))
    sign = -1 if variant == "cached" else chance.choice((-1, 1))
    rule = {"kind": "clock_offset", "variant": variant, "offset_ms": sign * far_ms,
            "exchange": exchange}  # fmt: skip
    name = f"clock ({variant}, {sign * far_ms} ms)"
    return Fault(name, [rule], exchange, closes=chance.choice((1, 2, 4)))


_DRAWS: Final = (
    *(_away, _partly, _partly, _market, _market, _market, _market),
    *(_slow, _hang, _refused, _busy, _too_fast, _clock),
)
