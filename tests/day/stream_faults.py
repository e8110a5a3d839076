"""What is drawn for the streams of a day: how connections end, and what happens to messages."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StreamFault:
    """Rules of the simulator from `delay_s` on; they are deleted after `closes`, and candles of
    the exchange may be asked for until one close later. `restarts`: the feeds' process too."""

    kind: str
    exchange: str
    rules: Sequence[Rule]
    delay_s: float
    closes: int = 2
    restarts: bool = False

    def __str__(self) -> str:
        return f"{self.kind} at {self.exchange} in {self.delay_s:.0f} s"


def draw_cut(chance: random.Random, exchange: str, within_s: float) -> StreamFault:
    """A connection ends, at any moment; sometimes the next ones are refused."""
    rules: list[dict[str, Any]] = [
        chance.choice(
            (
                {"kind": "stream_cut"},
                {"kind": "stream_cut"},
                {"kind": "stream_close", "status": 1001},
                {"kind": "stream_close", "status": 1008, "text": "too many"},
            )
        )
    ]
    if chance.random() < 0.25:
        status, count = chance.choice((503, 429)), chance.randint(1, 3)
        rules.append({"kind": "stream_refuse", "status": status, "count": count})
    kind = "+".join(rule["kind"] for rule in rules)
    ours = [{"count": 1, **rule, "exchange": exchange} for rule in rules]
    return StreamFault(kind, exchange, ours, chance.uniform(0, within_s))


def draw_fault(
    chance: random.Random, exchange: str, symbols: Sequence[str], within_s: float
) -> StreamFault:
    """Any other fault."""
    rule: dict[str, Any] = chance.choice(
        (
            {"kind": "stream_stall", "seconds": chance.choice((8, 25, 50, 400)), "count": 1},
            {"kind": "stream_lose_closing", "count": chance.randint(1, 3)},
            {"kind": "stream_delay_closing", "seconds": chance.choice((4, 12, 20)), "count": 1},
            {"kind": "stream_delay_closing", "seconds": chance.choice((29, 80, 200)), "count": 2},
            {"kind": "stream_lose", "count": chance.choice((1, 20, 400))},
            {"kind": "stream_duplicate", "count": chance.choice((5, 200))},
            {"kind": "stream_reorder", "count": chance.randint(1, 5)},
            {"kind": "stream_garbage", "count": chance.randint(1, 3)},
            {"kind": "stream_giant", "count": 1},
            {"kind": "restart"},
        )
    )
    delay_s = chance.uniform(0, within_s)
    if rule["kind"] == "restart":
        return StreamFault("restart of the feeds", exchange, [], delay_s, restarts=True)
    rule = {**rule, "exchange": exchange}
    if rule["kind"] != "stream_stall" and chance.random() < 0.7:
        rule["symbol"] = chance.choice(symbols)
    closes = 3 if rule.get("seconds", 0) > 100 else 2
    return StreamFault(str(rule["kind"]), exchange, [rule], delay_s, closes)
