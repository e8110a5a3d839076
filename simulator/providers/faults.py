"""Fault rules of simulated providers: which requests get which fault.

A rule is a JSON object:
    host       a host or a list; `*` stands for any text (`*.publicnode.com`); absent: all
    path       how the path begins, such as /eth of public.1rpc.io; absent: all
    class      see fault_kinds
    share      0 to 1: the chance of each request (1)
    seconds    how long the rule lasts; absent: until it is deleted
    count      most hits
    echo       what its error repeats of the request: see echo.ECHOES
and the fields of its class.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from simulator.faults import InvalidRule
from simulator.providers.asked import TRUTH, Lies
from simulator.providers.echo import ECHOES
from simulator.providers.fault_kinds import ECHOING, KINDS, LIES, TRANSIENT, VARIANTS

_FIELDS: Final = frozenset({
    "host", "path", "class", "share", "seconds", "count", "status", "retry_after", "seconds_each",
    "factor", "assets", "age_s", "blocks", "variant", "file",
    "echo",
})  # fmt: skip
_NUMBERS: Final = (
    "share", "seconds", "count", "retry_after", "seconds_each", "factor", "age_s", "blocks",
)  # fmt: skip
_OTHER_CHAIN: Final = 1337


@dataclass(slots=True)
class Rule:
    """One rule, with the number of its hits (`used`)."""

    number: int
    settings: Mapping[str, Any]
    hosts: tuple[str, ...]
    until_s: float | None
    chance: random.Random
    used: int = 0

    @property
    def kind(self) -> str:
        return str(self.settings["class"])

    def drawn_kind(self) -> str:
        """The kind of this hit: of `transient`, one of several."""
        return self.chance.choice(TRANSIENT) if self.kind == "transient" else self.kind

    def number_of(self, name: str, default: float) -> float:
        return float(self.settings.get(name, default))

    def hits(self, host: str, path: str, now_s: float) -> bool:
        """Whether this request gets the fault; counts the hit."""
        settings = self.settings
        if self.until_s is not None and now_s >= self.until_s:
            return False
        if "count" in settings and self.used >= settings["count"]:
            return False
        if not any(fnmatchcase(host, pattern) for pattern in self.hosts):
            return False
        if not path.startswith(settings.get("path", "")):
            return False
        share = settings.get("share", 1)
        if share < 1 and self.chance.random() >= share:
            return False
        self.used += 1
        return True

    def lies(self) -> Lies:
        """What is not true in the answers that it hits."""
        match self.kind:
            case "unknown":
                return Lies(blank=True)
            case "wrong_value":
                assets = frozenset(str(a).lower() for a in self.settings.get("assets", ()))
                return Lies(factor=self.number_of("factor", 1000), assets=assets)
            case "stale":
                return Lies(age_s=self.number_of("age_s", 3600))
            case "lagging":
                return Lies(blocks=int(self.number_of("blocks", 100)))
            case "wrong_chain":
                return Lies(chain_id=_OTHER_CHAIN)
            case _:
                return TRUTH

    def as_json(self) -> dict[str, Any]:
        return {"number": self.number, "used": self.used, **self.settings}


class ProviderFaults:
    """The rules in force, oldest first; of those that hit a request the first one applies, unless
    they are lies: they add up, and an error hides them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rules: list[Rule] = []
        self._number = 0

    def add(self, rules: Any, now_s: float) -> list[dict[str, Any]]:
        """Adds one rule or a list of them. Raises InvalidRule, and adds none then."""
        found = rules if isinstance(rules, list) else [rules]
        for rule in found:
            _check(rule)
        return [self._add(rule, now_s).as_json() for rule in found]

    def _add(self, settings: Mapping[str, Any], now_s: float) -> Rule:
        self._number += 1
        host = settings.get("host", "*")
        rule = Rule(
            number=self._number,
            settings=settings,
            hosts=(host,) if isinstance(host, str) else tuple(host),
            until_s=now_s + settings["seconds"] if "seconds" in settings else None,
            chance=random.Random(f"{self._seed}:{self._number}"),  # noqa: S311 - repeatable
        )
        self._rules.append(rule)
        return rule

    def clear(self, number: int | None = None) -> None:
        """Deletes all rules, or the one of this number."""
        self._rules = [rule for rule in self._rules if number not in (None, rule.number)]

    def pick(self, host: str, path: str, now_s: float) -> tuple[Rule | None, list[Rule]]:
        """The rule that breaks the answer to a request, if any, and the lies in it."""
        self._rules = [r for r in self._rules if r.until_s is None or now_s < r.until_s]
        told: list[Rule] = []
        for rule in self._rules:
            if rule.hits(host, path, now_s):
                if rule.kind not in LIES:
                    return rule, told
                told.append(rule)
        return None, told

    def as_json(self) -> list[dict[str, Any]]:
        return [rule.as_json() for rule in self._rules]


def _check(rule: Any) -> None:
    if not isinstance(rule, dict):
        raise InvalidRule("a rule is a JSON object")
    if unknown := rule.keys() - _FIELDS:
        raise InvalidRule(f"no field {', '.join(sorted(unknown))}: {', '.join(sorted(_FIELDS))}")
    if rule.get("class") not in KINDS:
        raise InvalidRule(f"class must be one of {', '.join(KINDS)}")
    for name in _NUMBERS:
        value = rule.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise InvalidRule(f"{name} must be a number of at least 0")
    _check_class(rule)
    for name in ("host", "assets"):
        value = rule.get(name, [])
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InvalidRule(f"{name} must be a text or a list of texts")
    if not isinstance(rule.get("path", ""), str):
        raise InvalidRule("path must be a text")


def _check_class(rule: Mapping[str, Any]) -> None:
    """The fields of its class."""
    if rule["class"] == "status" and not _is_status(rule.get("status")):
        raise InvalidRule("class status needs a status from 400 to 599")
    if rule.get("variant", VARIANTS[0]) not in VARIANTS:
        raise InvalidRule(f"variant must be one of {', '.join(VARIANTS)}")
    if "echo" in rule and (rule["echo"] not in ECHOES or rule["class"] not in ECHOING):
        told = f"one of {', '.join(ECHOES)}, of class {', '.join(ECHOING)}"
        raise InvalidRule(f"echo must be {told}")
    if rule["class"] == "recorded" and not isinstance(rule.get("file"), str):
        raise InvalidRule("class recorded needs a file")


def _is_status(status: Any) -> bool:
    return isinstance(status, int) and not isinstance(status, bool) and 400 <= status < 600


def together(rules: list[Rule]) -> Lies:
    """The lies of several rules in one."""
    every = [rule.lies() for rule in rules]
    if not every:
        return TRUTH
    factor = 1.0
    for lies in every:
        factor *= lies.factor
    return Lies(
        factor=factor,
        age_s=sum(lies.age_s for lies in every),
        blocks=sum(lies.blocks for lies in every),
        chain_id=next((lies.chain_id for lies in every if lies.chain_id), None),
        blank=any(lies.blank for lies in every),
        assets=frozenset().union(*(lies.assets for lies in every)),
    )
