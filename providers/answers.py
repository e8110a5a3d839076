"""Answers, and the last good ones of all processes in the hot store.

They are fresh for their row's ttl, and kept for as long as they may be given, with their age, while
nobody answers.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import msgspec

from providers.bounds import MANY
from providers.codec import Unreadable, as_json, from_json
from providers.errors import Tried
from providers.gate import Kept
from providers.questions import STALE_LIMIT_S, Kind, Question
from providers.records import Record
from providers.resources import Level
from stores.hot.replies import whole_number
from stores.hot.store import HotStore

# A price is compared with the last one long after that could be an answer.
_KEPT_S: Final = {Kind.PRICE: 86_400.0, Kind.GAS: 3_600.0}
PRICES: Final = ("price.spot", "price.perp", "price.aggregate")
DOLLARS: Final = ("USD", "USDT")
# KEYS: of answers. ARGV: for each, ms that it is kept, and its text.
_KEEP: Final = """
for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[2 * i], 'PX', ARGV[2 * i - 1]) end
return #KEYS
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """`served_by` and `levels`: by subject, which resource answered, of which level; of news, by
    resource. `tried`: who was asked or skipped and did not answer; empty where all was cached.
    `missing`: the subjects that nobody has answered. Records with `stale_since_ms` are the last
    known ones: nobody has a newer one."""

    question: Question
    records: tuple[Record, ...]
    tried: tuple[Tried, ...]
    served_by: Mapping[str, str]
    levels: Mapping[str, Level]
    missing: tuple[str, ...] = ()
    cached: bool = False

    @property
    def level(self) -> Level | None:
        """The lowest level that had to be asked."""
        return max(self.levels.values(), default=None)


@dataclass(frozen=True, slots=True)
class Known:
    """What one resource told of one subject. `marks`: validators of a feed (ETag and the like)."""

    records: tuple[Record, ...]
    resource: str
    level: Level
    fetched_at_ms: int
    fresh_until_ms: int
    marks: Mapping[str, str]

    def is_fresh(self, now_ms: int) -> bool:
        return now_ms < self.fresh_until_ms

    def is_usable(self, kind: Kind, now_ms: int) -> bool:
        """Whether it may be given while nobody answers."""
        return now_ms - self.fetched_at_ms <= STALE_LIMIT_S[kind] * 1000

    def stale(self) -> tuple[Record, ...]:
        return tuple(replace(each, stale_since_ms=self.fresh_until_ms) for each in self.records)


class Answers:
    def __init__(self, store: HotStore) -> None:
        self._store = store
        self._keep = store.script("provider_keep", _KEEP)

    async def read(self, question: Question, names: Sequence[str]) -> dict[str, Known]:
        """What is known by name: of a subject, or of a resource."""
        if not names:
            return {}
        return known_of(names, await self._store.execute("MGET", *keys_of(question, names)))

    async def references(self, question: Question, names: Sequence[str]) -> dict[str, Known]:
        """What other chains know of prices of these subjects, in any currency of about one dollar:
        the latest of each. No answer, but a measure for one."""
        if question.kind is not Kind.PRICE or not names:
            return {}
        others = [Question(chain, (), (("quote", quote),)) for chain in PRICES for quote in DOLLARS]
        where = [
            (name, key)
            for each in others
            for name, key in zip(names, keys_of(each, names), strict=True)
        ]
        texts = await self._store.execute("MGET", *(key for _, key in where))
        found: dict[str, Known] = {}
        for (name, _), text in zip(where, texts, strict=True):
            known = _decoded(text) if text else None
            if known and (name not in found or known.fetched_at_ms > found[name].fetched_at_ms):
                found[name] = known
        return found

    async def keep(self, question: Question, known: Mapping[str, Known], now_ms: int) -> None:
        if not known:
            return
        kept = kept_of(question, known, now_ms)
        words = [word for each in kept for word in (each.ms, each.text)]
        await self._keep.run([each.key for each in kept], words, reply=whole_number())


def names_of(question: Question) -> tuple[str, ...]:
    """The names under which an answer is kept: the subjects, or one where it is of all of them."""
    return ("*".join(question.subjects),) if question.kind in MANY else question.subjects


def fresh_and_rest(
    known: Mapping[str, Known], names: Iterable[str], now_ms: int
) -> tuple[dict[str, Known], tuple[str, ...]]:
    fresh = {name: known[name] for name in names if name in known and known[name].is_fresh(now_ms)}
    return fresh, tuple(name for name in names if name not in fresh)


def keys_of(question: Question, names: Iterable[str]) -> list[str]:
    """Where what is known is kept, by the names of `names_of`."""
    return [_key(question.chain, question.options, name) for name in names]


def known_of(names: Sequence[str], texts: Sequence[bytes | None]) -> dict[str, Known]:
    """What is known by name, from the texts under `keys_of`."""
    found = {name: _decoded(text) for name, text in zip(names, texts, strict=True) if text}
    return {name: known for name, known in found.items() if known is not None}


def kept_of(question: Question, known: Mapping[str, Known], now_ms: int) -> list[Kept]:
    """What is known as the hot store keeps it."""
    kept_s = max(STALE_LIMIT_S[question.kind], _KEPT_S.get(question.kind, 0.0))
    return [
        Kept(key, _encoded(each), max(round(kept_s * 1000), each.fresh_until_ms - now_ms, 1))
        for key, each in zip(keys_of(question, known), known.values(), strict=True)
    ]


@lru_cache(maxsize=4096)
def _key(chain: str, options: tuple[tuple[str, str], ...], name: str) -> str:
    what = json.dumps([chain, options, name])
    return f"provider:answer:{hashlib.sha256(what.encode()).hexdigest()[:32]}"


def _encoded(known: Known) -> bytes:
    fields = {
        "records": [as_json(each) for each in known.records],
        "resource": known.resource,
        "level": int(known.level),
        "fetched_at_ms": known.fetched_at_ms,
        "fresh_until_ms": known.fresh_until_ms,
        "marks": dict(known.marks),
    }
    return msgspec.json.encode(fields)


def _decoded(text: bytes) -> Known | None:
    """None for what another release has stored."""
    try:
        fields: Any = msgspec.json.decode(text)
        return Known(
            tuple(from_json(each) for each in fields["records"]),
            str(fields["resource"]),
            Level(fields["level"]),
            int(fields["fetched_at_ms"]),
            int(fields["fresh_until_ms"]),
            {str(name): str(mark) for name, mark in fields["marks"].items()},
        )
    except (Unreadable, ValueError, KeyError, TypeError, AttributeError):
        return None
