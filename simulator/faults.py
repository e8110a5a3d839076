"""Faults: which request gets which bad answer. Rules come by command line or over HTTP.

A rule is a JSON object:
    exchange, endpoint, symbol, client   whom it hits; what is absent hits all (lists allowed)
    kind                                 see KINDS
    probability 0..1, count, after       how often: by chance, at most, not before that many
    duration_s                           how long from now on
and what the kind needs: status, text, seconds, code, message, variant, rows, retry_after, ban_s.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from simulator.damage import NONSENSE_VARIANTS

KINDS: Final = {
    "status": "an HTTP status: 403, 404, 408, 418, 429, 451, 500, 502, 503, 504 and its body",
    "geo": "blocked by country: 451 on Binance, 403 with HTML on Bybit",
    "retcode": "Bybit's retCode `code` with HTTP 200",
    "truncated_json": "the first half of the body",
    "wrong_types": "numbers where strings belong, objects where lists belong",
    "empty_body": "200 and nothing",
    "html_200": "200 and a web page",
    "reset": "the connection is cut",
    "hang": "no answer for `seconds`, then the connection is cut",
    "slow": "the answer, `seconds` late",
    "nonsense": "wrong rows: variant high_below_low, negative_volume, unsorted, duplicate, "
    "off_grid, nan",
    "short_page": "fewer rows than asked for: half of them, or `rows`",
    "repeated_cursor": "the same cursor and page again and again (Bybit)",
}
# Changes of the world, done once when the rule comes in; the truth follows.
EVENTS: Final = {
    "delist": "`symbol` is gone: unknown from now on, its status changed",
    "list_new": "a new market `symbol` (its base) is listed, trading since `age_ms` ago",
    "missing_oi": "snapshots of `symbol` at `times` were never taken",
    "correction": "the closed 5-minute candle of `symbol` at `time` gets more volume and range",
    "funding_interval": "`symbol` settles every `hours` hours from `from_ms` or the next hour on",
}
_BYBIT_ONLY: Final = ("retcode", "repeated_cursor")
_FIELDS: Final = frozenset({
    "exchange", "endpoint", "symbol", "client", "kind", "probability", "count", "after",
    "duration_s", "status", "text", "seconds", "code", "message", "variant", "rows",
    "retry_after", "ban_s", "times", "time", "age_ms", "hours", "from_ms",
})  # fmt: skip


class WrongRule(Exception):
    """A rule that cannot be used; the text says why."""


@dataclass(slots=True)
class Rule:
    """One rule and how often it was used."""

    number: int
    settings: Mapping[str, Any]
    until_s: float | None
    chance: random.Random
    seen: int = 0
    used: int = 0
    targets: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return str(self.settings["kind"])

    def get(self, name: str, default: Any = None) -> Any:
        return self.settings.get(name, default)

    def hits(self, request: Mapping[str, str], now_s: float) -> bool:
        """Whether this request gets the fault; counts it as used if so."""
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
        probability = self.get("probability")
        if probability is not None and self.chance.random() >= probability:
            return False
        self.used += 1
        return True

    def as_json(self) -> dict[str, Any]:
        return {"number": self.number, "seen": self.seen, "used": self.used, **self.settings}


class FaultBook:
    """The rules in force, oldest first; the first that hits a request decides its fate."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rules: list[Rule] = []
        self._number = 0

    def add(self, settings: Mapping[str, Any], now_s: float) -> Rule:
        """A new rule, or WrongRule."""
        check(settings)
        self._number += 1
        duration_s = settings.get("duration_s")
        rule = Rule(
            self._number,
            settings,
            None if duration_s is None else now_s + float(duration_s),
            random.Random(f"{self._seed}:{self._number}"),  # noqa: S311 - to be repeatable
        )
        for name in ("exchange", "endpoint", "symbol", "client"):
            wanted = settings.get(name)
            if name == "exchange" and rule.kind in _BYBIT_ONLY:
                wanted = "bybit"
            if wanted is not None:
                rule.targets[name] = frozenset([wanted] if isinstance(wanted, str) else wanted)
        self._rules.append(rule)
        return rule

    def clear(self) -> None:
        self._rules.clear()

    def pick(self, request: Mapping[str, str], now_s: float) -> Rule | None:
        """The rule that hits a request, if any."""
        for rule in self._rules:
            if rule.hits(request, now_s):
                return rule
        return None

    def as_json(self) -> list[dict[str, Any]]:
        return [rule.as_json() for rule in self._rules]


def check(settings: Mapping[str, Any]) -> None:
    """Raises WrongRule for unknown kinds, unknown fields and values out of range."""
    kind = settings.get("kind")
    if kind not in KINDS and kind not in EVENTS:
        raise WrongRule(f"kind is one of {', '.join([*KINDS, *EVENTS])}")
    unknown = sorted(set(settings) - _FIELDS)
    if unknown:
        raise WrongRule(f"unknown field {unknown[0]!r}")
    for name in ("probability", "count", "after", "duration_s", "seconds", "rows", "retry_after"):
        value = settings.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise WrongRule(f"{name} is a number from 0 on")
    if kind == "status" and not isinstance(settings.get("status"), int):
        raise WrongRule("kind status needs status")
    if kind == "nonsense" and settings.get("variant", "nan") not in NONSENSE_VARIANTS:
        raise WrongRule(f"variant is one of {', '.join(NONSENSE_VARIANTS)}")
    if kind == "retcode" and not isinstance(settings.get("code"), int):
        raise WrongRule("kind retcode needs code")
