"""Usage of providers: outcomes by resource and questions by chain, counted in the hot store."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from logging_setup import OutageLog
from providers.account import questions_key, usage_key
from providers.gate import KEPT_MS
from stores.hot.replies import list_of, named_texts, whole_number
from stores.hot.store import HotStore, StoreUnavailable

WRITE_AFTER_S: Final = 0.5

log = structlog.get_logger(__name__)

# Of a chain: the fields since when (ms) nobody of it answers, and when that was last so.
DEAD_SINCE: Final = "dead_since"
DEAD_AT: Final = "dead_at"
_DEAD: Final = "1"
# KEYS: hashes. ARGV: triples of a key's number, a field, and what is added to it; to DEAD_SINCE
# nothing is added: it gets the time if it has none and DEAD_AT the time, or both are removed.
_COUNT: Final = f"""
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for i = 1, #ARGV, 3 do
  local key, field, value = KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2]
  if field ~= '{DEAD_SINCE}' then redis.call('HINCRBY', key, field, value)
  elseif value == '{_DEAD}' then
    if redis.call('HEXISTS', key, field) == 0 then redis.call('HSET', key, field, now) end
    redis.call('HSET', key, '{DEAD_AT}', now)
  else redis.call('HDEL', key, field, '{DEAD_AT}') end
end
for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], {KEPT_MS}) end
return 1
"""
_READ: Final = """
local reply = {}
for i = 1, #KEYS do reply[i] = redis.call('HGETALL', KEYS[i]) end
return reply
"""


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """`failed` by class, `skipped` by reason. `sum_ms` and the quantiles are of successes; a
    quantile is the upper end of its bucket, which is 30 % wide."""

    requests: int
    success: int
    failed: Mapping[str, int]
    skipped: Mapping[str, int]
    sum_ms: int
    p50_ms: int | None
    p95_ms: int | None
    trips: int
    last_error: str | None
    last_error_at_ms: int | None

    @property
    def failures(self) -> int:
        return sum(self.failed.values())


@dataclass(frozen=True, slots=True)
class QuestionUsage:
    """`fallbacks`: answered in place of one that could answer, and failed or was out."""

    asked: int = 0
    answered: int = 0
    fallbacks: int = 0
    stale: int = 0
    unanswered: int = 0
    cached: int = 0


_COUNTS: Final = frozenset(each.name for each in dataclasses.fields(QuestionUsage))


class Usage:
    """Counts of questions are written a moment later, many at once; `aclose` writes the rest."""

    def __init__(self, store: HotStore) -> None:
        self._count = store.script("provider_count", _COUNT)
        self._read = store.script("provider_usage", _READ)
        self._added: Counter[tuple[str, str]] = Counter()
        self._marks: dict[str, str] = {}
        self._writing: asyncio.Task[None] | None = None
        self._outage = OutageLog(log, "provider_usage_not_counted", "provider_usage_counted_again")

    def count(
        self, chain: str, what: Mapping[str, int], skipped: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Adds to the chain's counts, and to those of resources that were skipped, with reasons."""
        for name, number in what.items():
            if number:
                self._added[questions_key(chain), name] += number
        for resource, reason in skipped:
            self._added[usage_key(resource), f"skipped:{reason}"] += 1
        self._write_soon()

    def _write_soon(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_later())

    def living(self, chain: str, is_alive: bool) -> None:
        """Notes whether anybody of the chain answered its last question."""
        self._marks[questions_key(chain)] = "" if is_alive else _DEAD
        self._write_soon()

    async def aclose(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._write()

    async def _write_later(self) -> None:
        await asyncio.sleep(WRITE_AFTER_S)
        await self._write()

    async def _write(self) -> None:
        """Writes what was counted; while the store is away it is kept for the next time."""
        added, self._added = self._added, Counter()
        marks, self._marks = self._marks, {}
        if not added and not marks:
            return
        keys = list(dict.fromkeys([*(key for key, _ in added), *marks]))
        words: list[str | int] = []
        for key, mark in marks.items():
            words += [keys.index(key) + 1, DEAD_SINCE, mark]
        for (key, field), number in added.items():
            words += [keys.index(key) + 1, field, number]
        try:
            await self._count.run(keys, words, reply=whole_number())
        except StoreUnavailable as error:
            self._outage.failed(error)
            self._added.update(added)
            self._marks = marks | self._marks
        else:
            self._outage.recovered()

    async def read(self, resources: Sequence[str]) -> dict[str, ResourceUsage]:
        await self._write()
        found = await self._fields([usage_key(each) for each in resources])
        return {each: _usage(fields) for each, fields in zip(resources, found, strict=True)}

    async def questions(self, chains: Sequence[str]) -> dict[str, QuestionUsage]:
        await self._write()
        found = await self._fields([questions_key(each) for each in chains])
        return {
            chain: QuestionUsage(
                **{name: int(text) for name, text in fields.items() if name in _COUNTS}
            )
            for chain, fields in zip(chains, found, strict=True)
        }

    async def _fields(self, keys: Sequence[str]) -> list[dict[str, str]]:
        if not keys:
            return []
        flat = await self._read.run(keys, reply=list_of(named_texts, len(keys)))
        return [
            {
                name.decode(): text.decode(errors="replace")
                for name, text in zip(each[::2], each[1::2], strict=True)
            }
            for each in flat
        ]


def _usage(fields: Mapping[str, str]) -> ResourceUsage:
    def of(prefix: str) -> dict[str, int]:
        return {
            name.removeprefix(prefix): int(text)
            for name, text in fields.items()
            if name.startswith(prefix)
        }

    buckets = sorted((int(bound), number) for bound, number in of("ms:").items())
    return ResourceUsage(
        requests=int(fields.get("requests", 0)),
        success=int(fields.get("success", 0)),
        failed=of("failed:"),
        skipped=of("skipped:"),
        sum_ms=int(fields.get("sum_ms", 0)),
        p50_ms=_quantile(buckets, 0.5),
        p95_ms=_quantile(buckets, 0.95),
        trips=int(fields.get("trips", 0)),
        last_error=fields.get("last_error"),
        last_error_at_ms=int(fields["last_error_at"]) if "last_error_at" in fields else None,
    )


def _quantile(buckets: Sequence[tuple[int, int]], share: float) -> int | None:
    wanted = share * sum(number for _, number in buckets)
    for bound, number in buckets:
        wanted -= number
        if wanted <= 0:
            return bound
    return None
