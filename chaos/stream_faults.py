"""The faults of the exchanges' streams: for each kind the simulator's rules, drawn by chance.

The simulator's own pages (simulator/streams/fault_kinds.py, settings.py) say what each one does.
New connections and subscriptions come only after a cut, so rules for those come with one. A wrong
closing event that nothing contradicts stays until the audit of the day finds it, which is a known
weakness; so only those are drawn that the right one follows, which the rules must find. A candle
that an exchange corrects after it has closed it is found by the audit alone too, and not drawn
where streams are fed.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from chaos.names import EXCHANGES, SILENT_UNCLOSED

Details = Mapping[str, Any]
Rule = dict[str, Any]
Chance = random.Random

STREAM_FAULTS: Final = (
    "refused", "short_lives", "cut", "cut", "closed", "closed_later", "stalled", "stalled",
    "muted", "after_unsubscribe", "closings_lost", "closings_lost", "closings_late",
    "closings_wrong", "lost", "gap", "duplicate", "reorder", "garbage", "giant",
    "silent_unclosed", "all_closings_late",
)  # fmt: skip
# Those by which the exchange tells less of a candle than its streams promise: a market's row may
# come only after the grace of closing events.
UNTOLD: Final = frozenset((
    "stalled", "muted", "closings_lost", "closings_late", "closings_wrong", "lost", "gap",
    "reorder", "silent_unclosed", "all_closings_late",
))  # fmt: skip
_CLOSE_CODES: Final = (1000, 1001, 1006, 1008, 1011, 1012, 4004)
_CUT: Final[Rule] = {"kind": "stream_cut", "probability": 1.0}
_GARBAGE: Final = (
    None, "", "null", "[]", "{}", "pong", '{"data":{}}', '{"topic":"kline.5.BTCUSDT","data":[{}]}',
    '{"stream":"btcusdt@kline_5m","data":{"e":"kline","k":{"x":true}}}', "[" * 20_000,
)  # fmt: skip


def stream_fault(kind: str, chance: Chance) -> tuple[float, Details]:
    """`rules` for POST /sim/faults, each for as long as the fault lasts, and `settings` for POST
    /sim/streams, until then. `market` (0..1): all rules are of one of the exchange's markets."""
    lasts_s = chance.uniform(3.0, 20.0)
    exchange = chance.choice(EXCHANGES)
    rules, settings = _KINDS[kind](exchange, chance)
    details: dict[str, Any] = {"exchange": exchange, "rules": rules}
    if settings:
        details["settings"] = settings
    if kind in _OF_MARKETS and chance.random() < 0.6:
        details["market"] = round(chance.random(), 3)
    return lasts_s, details


Drawn = tuple[Sequence[Rule], Details]
_OF_MARKETS: Final = frozenset((
    "muted", "closings_lost", "closings_late", "closings_wrong", "lost", "duplicate", "reorder",
    "garbage",
))  # fmt: skip


def _refused(exchange: str, chance: Chance) -> Drawn:
    return [{"kind": "stream_refuse", "status": chance.choice((403, 429, 503))}, _CUT], {}


def _short_lives(exchange: str, chance: Chance) -> Drawn:
    return [{"kind": "stream_life", "seconds": round(chance.uniform(1, 8), 1)}, _once(_CUT)], {}


def _closed(exchange: str, chance: Chance) -> Drawn:
    return [_once({"kind": "stream_close", "status": chance.choice(_CLOSE_CODES)})], {}


def _closed_later(exchange: str, chance: Chance) -> Drawn:
    seconds = round(chance.uniform(1, 8), 1)
    return [_once({"kind": "stream_close", "status": 1001, "seconds": seconds})], {}


def _stalled(exchange: str, chance: Chance) -> Drawn:
    seconds = chance.choice((round(chance.uniform(3, 40), 1), None))
    rule: Rule = {"kind": "stream_stall"} if seconds is None else {
        "kind": "stream_stall", "seconds": seconds,
    }  # fmt: skip
    return [_once(rule)], {}


def _muted(exchange: str, chance: Chance) -> Drawn:
    return [_some({"kind": "stream_mute"}, chance), _once(_CUT)], {}


def _closings_wrong(exchange: str, chance: Chance) -> Drawn:
    rule = {"kind": "stream_wrong_closing", "variant": "then_right",
            "seconds": round(chance.uniform(0.05, 1.5), 2)}  # fmt: skip
    return [_some(rule, chance)], {}


def _closings_late(exchange: str, chance: Chance) -> Drawn:
    seconds = round(chance.choice((chance.uniform(1, 6), chance.uniform(6, 40))), 1)
    return [_some({"kind": "stream_delay_closing", "seconds": seconds}, chance)], {}


def _garbage(exchange: str, chance: Chance) -> Drawn:
    text = chance.choice(_GARBAGE)
    rule: Rule = {"kind": "stream_garbage"} | ({} if text is None else {"text": text})
    return [{**rule, "probability": round(chance.uniform(0.05, 0.5), 2)}], {}


def _giant(exchange: str, chance: Chance) -> Drawn:
    rows = chance.choice((10_000, 1_000_000, 25_000_000))
    return [{"kind": "stream_giant", "rows": rows, "count": chance.randint(1, 2)}], {}


def _silent_unclosed(exchange: str, chance: Chance) -> Drawn:
    """The other way than usual."""
    return [], {"silent_closings": {exchange: exchange in SILENT_UNCLOSED}}


def _all_closings_late(exchange: str, chance: Chance) -> Drawn:
    return [], {"closing_delay_s": {exchange: round(chance.uniform(2, 12), 1)}}


def _once(rule: Rule) -> Rule:
    return {**rule, "count": 1}


def _some(rule: Rule, chance: Chance) -> Rule:
    return {**rule, "probability": chance.choice((1.0, round(chance.uniform(0.2, 0.9), 2)))}


def _often(kind: str, least: float, most: float) -> Callable[[str, Chance], Drawn]:
    def draw(exchange: str, chance: Chance) -> Drawn:
        return [{"kind": kind, "probability": round(chance.uniform(least, most), 2)}], {}

    return draw


_KINDS: Final[Mapping[str, Callable[[str, Chance], Drawn]]] = {
    "refused": _refused,
    "short_lives": _short_lives,
    "cut": lambda exchange, chance: ([_once(_CUT)], {}),
    "closed": _closed,
    "closed_later": _closed_later,
    "stalled": _stalled,
    "muted": _muted,
    "after_unsubscribe": lambda exchange, chance: (
        [{"kind": "stream_after_unsubscribe", "seconds": round(chance.uniform(2, 20), 1)}], {}
    ),
    "closings_lost": lambda exchange, chance: (
        [_some({"kind": "stream_lose_closing"}, chance)], {}
    ),
    "closings_late": _closings_late,
    "closings_wrong": _closings_wrong,
    "lost": _often("stream_lose", 0.1, 0.9),
    "gap": _often("stream_gap", 0.1, 0.9),
    "duplicate": _often("stream_duplicate", 0.2, 1.0),
    "reorder": _often("stream_reorder", 0.2, 0.9),
    "garbage": _garbage,
    "giant": _giant,
    "silent_unclosed": _silent_unclosed,
    "all_closings_late": _all_closings_late,
}  # fmt: skip
