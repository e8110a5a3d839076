"""The plan of an hour of faults: by a seed, who is down, lying, slow or limited in which phase.

In each phase every chain keeps one member that had no fault in the phase before it either: it must
answer. The others have faults, all of them at times. A phase is longer than the 90 s within which
a member that lives again serves again.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from providers.questions import Kind
from providers.registry import Registry
from providers.resources import Resource, State

PHASE_S: Final = 120
FULL_SHARE: Final = 0.3  # of phases in which everybody else has faults
SLOWEST_S: Final = 2.0  # real seconds
PAUSE_S: Final = 30  # of limits that are stated, as some are by the provider itself:
STATED_SHARE: Final = 0.5
_LEAST_RATE: Final = 0.12  # calls per second that a survivor must stand
_DOWN: Final = ("reset", "transient", "status", "truncated", "html", "challenge", "empty")
_SLOW: Final = ("slow", "hang")
_LYING: Final = ("bad_payload", "unknown", "stale", "wrong_value", "wrong_value")
# Whoever has these is out for the day; a few get them.
_FINAL: Final = ("quota_spent", "key_rejected", "geo_blocked")
_MOST_FINAL: Final = 3
# A limit of theirs pauses the collector, too, whose pauses are in real time.
_COLLECTED: Final = ("binance", "binance_usdm", "bybit")
# A chain that is asked through nodes alone, in the questions of the hour. Balances at one block are
# not among them: heads hold for half a minute of real time, in which these chains run so far ahead
# that nodes have no state of that block any more.
_THROUGH: Final = {"gas.evm": "rpc.bsc"}
_LAGGING: Final = "rpc.ethereum"
# No two of them agree: two that tell the same are believed, whatever it is.
_FACTORS: Final = (1000, 300, 100, 30, 10, 5, 3, 2, 0.5, 0.3, 0.2, 0.1, 0.03, 0.01, 0.003, 0.001)
# Values that a second source can contradict: prices everywhere, and fees by their size.
_PRICE_PATHS: Final = {"mempool.space": "/api/v1/prices", "coins.llama.fi": "/prices"}


@dataclass(frozen=True, slots=True)
class Phase:
    """`faults`: the class by provider. `survivors`: by chain, a provider without any, nor in the
    phase before. `rules`: for the simulator."""

    faults: Mapping[str, str]
    survivors: Mapping[str, str]
    rules: Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class Planner:
    """`speed`: how much faster than real time the hour goes; delays are real ones."""

    registry: Registry
    chains: Sequence[str]
    seed: int
    speed: float
    burnt: set[str] = field(default_factory=set)
    _chance: random.Random = field(init=False)
    _factors: list[float] = field(default_factory=lambda: list(_FACTORS))

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - repeatable

    def phases(self, count: int) -> list[Phase]:
        """A calm phase first, in which values become known, then phases of faults. In each, one
        node is far behind."""
        survivors = [self._survivors() for _ in range(count + 1)]
        needed = {name for later in survivors for name in later.values()}
        behind = self._laggard(set(survivors[0].values()) | needed)
        found = [Phase(behind, survivors[0], self._rules_of(behind))]
        for number in range(1, count):
            safe = {*survivors[number].values(), *survivors[number + 1].values()}
            faults = {**self._faults(safe, needed), **self._laggard(safe)}
            found.append(Phase(faults, survivors[number], self._rules_of(faults)))
        return found

    def _laggard(self, safe: set[str]) -> dict[str, str]:
        names = {each.provider.id for each in self.registry.resources if each.chain == _LAGGING}
        used = {host for who in safe for host in self._hosts(who)}
        able = sorted(each for each in names - self.burnt if not used & self._hosts(each))
        return {self._chance.choice(able): "lagging"}

    def _rules_of(self, faults: Mapping[str, str]) -> list[dict[str, Any]]:
        return [rule for who, kind in faults.items() for rule in self._rules(who, kind)]

    def _survivors(self) -> dict[str, str]:
        """One provider of each chain, the same for several chains where it can be."""
        chosen: dict[str, str] = {}
        for chain in self._chance.sample(list(self.chains), len(self.chains)):
            able = sorted({each.provider.id for each in keyless(self.registry, chain)})
            if chain != "news":  # which is asked every five minutes
                able = [name for name in able if _stands(self._limits(name))]
            if able:
                shared = [name for name in able if name in chosen.values()]
                chosen[chain] = self._chance.choice(shared or able)
        through = {chain: nodes for chain, nodes in _THROUGH.items() if nodes in chosen}
        return chosen | {chain: chosen[nodes] for chain, nodes in through.items()}

    def _limits(self, name: str) -> list[tuple[int, int]]:
        row = next(each for each in self.registry.resources if each.provider.id == name)
        return [(limit.quantity, limit.window_s) for limit in row.provider.limits]

    def _faults(self, safe: set[str], needed: set[str]) -> dict[str, str]:
        used = {host for who in safe for host in self._hosts(who)}  # some share a host
        names = sorted({each.provider.id for each in self.registry.resources} - safe)
        others = [who for who in names if not used & self._hosts(who)]
        share = 1.0 if self._chance.random() < FULL_SHARE else self._chance.uniform(0.3, 0.9)
        faults: dict[str, str] = {}
        self._chance.shuffle(self._factors)
        for who in others:
            if who in self.burnt or self._chance.random() < share:
                faults[who] = self._kind(who, final=who not in needed)
        return faults

    def _kind(self, who: str, *, final: bool) -> str:
        if final and len(self.burnt) < _MOST_FINAL and self._chance.random() < 0.1:
            self.burnt.add(who)
            return self._chance.choice(_FINAL)
        group = self._chance.choice((_DOWN, _SLOW, _LYING, ("rate_limited",)))
        kind = self._chance.choice(group)
        if kind == "rate_limited" and who in _COLLECTED:
            return "transient"
        if kind in _LYING and self._is_node(who):
            return "bad_payload"
        if kind == "unknown" and self._tells_balances(who):
            return "bad_payload"  # an account that is not known holds nothing: that is an answer
        if kind == "wrong_value" and not self._may_lie(who):
            return "stale"
        return kind

    def _is_node(self, who: str) -> bool:
        return any(
            each.provider.id == who and (each.chain.startswith("rpc.") or each.reader == "tron")
            for each in self.registry.resources
        )

    def _tells_balances(self, who: str) -> bool:
        rows = (each for each in self.registry.resources if each.provider.id == who)
        return any(each.kind is Kind.BALANCE for each in rows)

    def _may_lie(self, who: str) -> bool:
        hosts = self._hosts(who)
        chains = {each.chain for each in self.registry.resources if each.provider.id == who}
        return bool(hosts & _PRICE_PATHS.keys()) or all(
            chain.startswith(("price.", "sentiment.")) for chain in chains
        )

    def _hosts(self, who: str) -> set[str]:
        return {
            urlsplit(each.url).hostname or ""
            for each in self.registry.resources
            if each.provider.id == who and each.url
        } - {""}

    def _rules(self, who: str, kind: str) -> list[dict[str, Any]]:
        rule: dict[str, Any] = {"host": sorted(self._hosts(who)), "class": kind}
        match kind:
            case "rate_limited":
                if self._chance.random() < STATED_SHARE:
                    rule["retry_after"] = PAUSE_S
            case "status":
                rule["status"] = self._chance.choice((500, 502, 503, 504))
            case "slow" | "hang":
                rule["seconds_each"] = round(self._chance.uniform(0.3, SLOWEST_S) * self.speed, 1)
            case "bad_payload":
                rule["variant"] = self._chance.choice(("nan", "zero", "negative", "bool", "types"))
            case "lagging":
                rule["blocks"] = 1000
            case "wrong_value":
                return self._lies(who)
        return [rule]

    def _lies(self, who: str) -> list[dict[str, Any]]:
        factor = self._factors[0]
        self._factors.append(self._factors.pop(0))
        rule = {"class": "wrong_value", "factor": factor}
        return [
            {**rule, "host": host, "path": _PRICE_PATHS.get(host, "/")}
            for host in sorted(self._hosts(who))
            if not self._hosts(who) & _PRICE_PATHS.keys() or host in _PRICE_PATHS
        ]


def keyless(registry: Registry, chain: str) -> list[Resource]:
    """The members of a chain that live without a key and have a URL of their own, and can answer
    for all assets in the currency in which they are asked."""
    quote = "USD" if chain == "price.aggregate" else "USDT"
    return [
        each
        for each in registry.chain(chain)
        if each.state is State.ALIVE and each.url and not each.needs_key
        if each.kind is not Kind.PRICE
        or (quote in each.read.get("quotes", ("USD",)) and "assets" not in each.read)
    ]


def _stands(limits: Sequence[tuple[int, int]]) -> bool:
    return all(quantity / seconds > _LEAST_RATE for quantity, seconds in limits if seconds < 86_400)
