"""Fault rules: which requests get which fault. Rules come by command line or over HTTP.

A rule is a JSON object:
    exchange, endpoint, symbol, client   requests that it hits; an absent field hits all (lists too)
    stream                               the same for kinds stream_*: names as in subscriptions
    kind                                 see KINDS
    per_s                                it hits only what is more than so many requests a second
    probability 0..1, count, after       chance, most hits, matching requests before the first hit
    duration_s                           how long the rule lasts
and the fields of its kind: status, text, seconds, variant, rows, retry_after, ban_s, or those of an
exchange's own kind.
"""

import asyncio
import random
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from simulator.clock_offsets import offset_problem
from simulator.damage import NONSENSE_VARIANTS
from simulator.exchange import FaultKind
from simulator.networks import TOO_FAST_VARIANTS
from simulator.streams.fault_kinds import MESSAGE_KINDS, STREAM_KINDS, THEN_RIGHT

KINDS: Final = {
    "status": "an HTTP status: 403, 404, 408, 418, 429, 451, 500, 502, 503, 504 and its body",
    "geo": "the exchange's answer to a blocked country",
    "truncated_json": "the first half of the body",
    "wrong_types": "numbers where strings belong, objects where lists belong",
    "empty_body": "200 with an empty body",
    "html_200": "200 and a web page",
    "reset": "the connection is cut",
    "hang": "no answer for `seconds`, then the connection is cut",
    "slow": "the answer, `seconds` late",
    "hold": "the answer, once the rule is deleted; GET /sim/held waits until some are held",
    "nonsense": "impossible rows: variant high_below_low, negative_volume, off_grid, nan, "
    "zero_price, close_above_high, disputed; odd ones: unsorted, duplicate, exponent, "
    "extra_element, null_list, blank_rate, blank_entries, unclear_entries",
    "clock_offset": "the time, `offset_ms` off (of endpoint time, unless the rule names another): "
    "variant body alone, date (the Date header too), cached (an old answer with its Age)",
    "challenge": "a page that asks for a browser, with 403 or `status`; variant denied: refuses it",
    "too_fast": "a content network refuses what is more than `per_s` requests a second: variant "
    "cloudfront (503), cloudflare (429), forbidden (403)",
    "endless_continue": "100 Continue without end, for `seconds`, then the connection is cut",
    "deep_nesting": "a value that nobody reads, arrays in arrays 100,000 deep",
    "long_message": "an error whose message has `rows` characters, 1,000,000 by default",
    "short_list": "the first quarter of a list of contracts",
    "short_page": "fewer rows than requested: half of them, or `rows`",
}
# Changes of markets, applied once when the rule arrives; /sim/truth follows them.
EVENTS: Final = {
    "delist": "`symbol` is delisted: unknown from now on, with another status in the list",
    "list_new": "a new market of the base `symbol` is listed, trading since `age_ms` ago",
    "relaunch": "`symbol` is another contract, launched on the day of `age_ms` ago; the candles of "
    "the one before stay in its history, of one price without volume unless `flat` is false",
    "missing_oi": "open-interest snapshots of `symbol` at `times` are missing",
    "correction": "the closed 5-minute candle of `symbol` at `time` gets more volume and range",
    "impossible": "the candles of `symbol` that open at `times` are sent as the `variant` "
    "high_below_low, zero_price, close_above_high, off_grid or blank; they are in no true row",
    "book_restart": "the order book of `symbol` is numbered from the start, as after maintenance, "
    "by exchanges that do so",
    "funding_interval": "`symbol` settles every `hours` hours from `from_ms` or the next hour on",
}
_FIELDS: Final = frozenset({
    "exchange", "endpoint", "symbol", "client", "kind", "probability", "count", "after",
    "duration_s", "status", "text", "seconds", "variant", "rows", "retry_after", "ban_s", "times",
    "time", "age_ms", "hours", "from_ms", "flat", "offset_ms", "per_s", "stream",
})  # fmt: skip
_NUMBERS: Final = (
    "probability", "count", "after", "duration_s", "seconds", "rows", "retry_after", "per_s"
)  # fmt: skip


class InvalidRule(Exception):
    """A rule is invalid; the message says why."""


@dataclass(slots=True)
class Rule:
    """One rule, with the numbers of matching requests (`seen`) and of hits (`used`)."""

    number: int
    settings: Mapping[str, Any]
    until_s: float | None
    chance: random.Random
    seen: int = 0
    used: int = 0
    targets: dict[str, frozenset[str]] = field(default_factory=dict)
    arrivals: deque[float] = field(default_factory=deque)  # of the last second, for `per_s`
    over: asyncio.Event = field(default_factory=asyncio.Event)  # set once the rule is deleted

    @property
    def kind(self) -> str:
        return str(self.settings["kind"])

    def get(self, name: str, default: Any = None) -> Any:
        return self.settings.get(name, default)

    def hits(self, request: Mapping[str, str], now_s: float) -> bool:
        """Whether this request gets the fault; counts the match and the hit."""
        if self.until_s is not None and now_s >= self.until_s:
            return False
        count = self.get("count")
        if count is not None and self.used >= count:
            return False
        for name, wanted in self.targets.items():
            if request.get(name) not in wanted:
                return False
        self.seen += 1
        if self.seen <= self.get("after", 0):
            return False
        if (per_s := self.get("per_s")) is not None and not self._is_more_than(per_s, now_s):
            return False
        probability = self.get("probability")
        if probability is not None and self.chance.random() >= probability:
            return False
        self.used += 1
        return True

    def _is_more_than(self, per_s: float, now_s: float) -> bool:
        self.arrivals.append(now_s)
        while self.arrivals[0] <= now_s - 1:
            self.arrivals.popleft()
        return len(self.arrivals) > per_s

    def as_json(self) -> dict[str, Any]:
        return {"number": self.number, "seen": self.seen, "used": self.used, **self.settings}


class FaultRules:
    """The rules in force, oldest first; the first that hits a request applies.

    `own_kinds`: exchange -> kinds that only this exchange has.
    """

    def __init__(self, seed: int, own_kinds: Mapping[str, Mapping[str, FaultKind]]) -> None:
        self._seed = seed
        self._rules: list[Rule] = []
        self._stream_rules = 0
        self._number = 0
        self._own_kinds = {
            kind: (exchange, found)
            for exchange, kinds in own_kinds.items()
            for kind, found in kinds.items()
        }
        self._held = 0
        self._held_more = asyncio.Condition()

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raises InvalidRule for unknown kinds, unknown fields and values out of range."""
        kind = settings.get("kind")
        known = [*KINDS, *STREAM_KINDS, *self._own_kinds, *EVENTS]
        if kind not in known:
            raise InvalidRule(f"kind must be one of {', '.join(known)}")
        own = self._own_kinds[kind][1] if kind in self._own_kinds else FaultKind("")
        unknown = sorted(set(settings) - _FIELDS - set(own.fields))
        if unknown:
            raise InvalidRule(f"unknown field {unknown[0]!r}")
        for name in _NUMBERS:
            value = settings.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise InvalidRule(f"{name} must be a number of at least 0")
        for name in ("status",) if kind == "status" else own.needs:
            if not isinstance(settings.get(name), int):
                raise InvalidRule(f"kind {kind} needs {name}")
        if kind == "too_fast" and settings.get("variant", "cloudfront") not in TOO_FAST_VARIANTS:
            raise InvalidRule(f"variant must be one of {', '.join(TOO_FAST_VARIANTS)}")
        if kind == "nonsense" and settings.get("variant", "nan") not in NONSENSE_VARIANTS:
            raise InvalidRule(f"variant must be one of {', '.join(NONSENSE_VARIANTS)}")
        if kind == "stream_wrong_closing" and settings.get("variant", THEN_RIGHT) != THEN_RIGHT:
            raise InvalidRule(f"variant must be {THEN_RIGHT}, or absent")
        if kind in MESSAGE_KINDS and "client" in settings:
            raise InvalidRule(f"kind {kind} hits all subscribers alike, not one client")
        if kind == "clock_offset" and (problem := offset_problem(settings)):
            raise InvalidRule(problem)

    def add(self, settings: Mapping[str, Any], now_s: float) -> Rule:
        """Adds a rule. Raises InvalidRule."""
        self.check(settings)
        self._number += 1
        duration_s = settings.get("duration_s")
        rule = Rule(
            self._number,
            settings,
            None if duration_s is None else now_s + float(duration_s),
            random.Random(f"{self._seed}:{self._number}"),  # noqa: S311 - to be repeatable
        )
        for name in ("exchange", "endpoint", "symbol", "client", "stream"):
            wanted = settings.get(name)
            if name == "endpoint" and rule.kind == "clock_offset":
                wanted = wanted or "time"
            if name == "exchange" and rule.kind in self._own_kinds:
                wanted = self._own_kinds[rule.kind][0]
            if wanted is not None:
                rule.targets[name] = frozenset([wanted] if isinstance(wanted, str) else wanted)
        self._rules.append(rule)
        self._count_stream_rules()
        return rule

    def clear(self, number: int | None = None) -> None:
        """Deletes all rules, or the one of this number; answers that they hold are sent."""
        for rule in self._rules:
            if number in (None, rule.number):
                rule.over.set()
        self._rules = [rule for rule in self._rules if not rule.over.is_set()]
        self._count_stream_rules()

    def _count_stream_rules(self) -> None:
        self._stream_rules = sum(rule.kind in STREAM_KINDS for rule in self._rules)

    async def hold(self, rule: Rule) -> None:
        """Waits until `rule` is deleted."""
        async with self._held_more:
            self._held += 1
            self._held_more.notify_all()
        try:
            await rule.over.wait()
        finally:
            self._held -= 1

    async def wait_until_held(self, count: int, deadline_s: float) -> int:
        """Waits until `count` answers are held or the deadline passes; returns how many are."""
        try:
            async with asyncio.timeout(deadline_s), self._held_more:
                await self._held_more.wait_for(lambda: self._held >= count)
        except TimeoutError:
            pass
        return self._held

    def pick(self, request: Mapping[str, str], now_s: float) -> Rule | None:
        """The rule that hits a request, if any."""
        for rule in self._rules:
            if rule.kind not in STREAM_KINDS and rule.hits(request, now_s):
                return rule
        return None

    @property
    def has_stream_rules(self) -> bool:
        return self._stream_rules > 0

    def of_kinds(self, kinds: Collection[str]) -> list[Rule]:
        """The rules in force of these kinds, oldest first."""
        return [rule for rule in self._rules if rule.kind in kinds]

    def pick_stream(
        self, kinds: Collection[str], target: Mapping[str, str], now_s: float
    ) -> Rule | None:
        """The rule of these kinds of streams that hits a connection or a message, if any."""
        for rule in self._rules:
            if rule.kind in kinds and rule.hits(target, now_s):
                return rule
        return None

    def as_json(self) -> list[dict[str, Any]]:
        return [rule.as_json() for rule in self._rules]
