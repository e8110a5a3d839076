"""The record as a plain list of versions: what the tables must tell, as simply as possible."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from stores.cold.history.series import CHUNK_INSTANTS, NEVER_MS, SeriesKey

Values = tuple[float, ...]
Row = tuple[int, Values, int]  # time, values, known_at


@dataclass
class NaiveRecord:
    """For each series and time its versions, in order: values (None: removed), and since when.

    `others`: what a source said that was not believed, and of which moment that is told.
    `archived`: of what is known since then, between two times, an archive was the source.
    `answered`: the instants for which REST has answered, on their grid.
    """

    versions: dict[SeriesKey, dict[int, list[tuple[Values | None, int]]]] = field(
        default_factory=dict
    )
    others: dict[tuple[SeriesKey, int], list[tuple[Values, int]]] = field(default_factory=dict)
    archived: list[tuple[SeriesKey, int, int, int]] = field(default_factory=list)
    answered: dict[SeriesKey, set[int]] = field(default_factory=dict)

    def store(
        self,
        key: SeriesKey,
        rows: Sequence[tuple[int, Values]],
        removed: Sequence[int],
        known_at_ms: int,
    ) -> None:
        every = self.versions.setdefault(key, {})
        for t in removed:
            found = every.get(t, [])
            if found and found[-1][0] is not None:
                found.append((None, max(known_at_ms, found[-1][1] + 1)))
        for t, values in rows:
            found = every.setdefault(t, [])
            if not found:
                found.append((values, self._free(key, t, known_at_ms)))
            elif found[-1][0] is None:
                found.append((values, self._free(key, t, max(known_at_ms, found[-1][1]))))
            elif not equal(found[-1][0], values):
                since = self._free(key, t, max(known_at_ms, found[-1][1] + 1))
                found.append((values, since))

    def fill(
        self, key: SeriesKey, rows: Sequence[Row], source: str, now_ms: int
    ) -> tuple[int, int, int, int]:
        """How many were added, corrected, unchanged, and not believed."""
        counts = [0, 0, 0, 0]
        written: dict[int, list[int]] = {}
        for t, values, known_at in rows:
            found = self.versions.setdefault(key, {}).setdefault(t, [])
            ours, since = found[-1] if found else (None, 0)
            if ours is None:
                since = self._free(key, t, max(known_at, since))
                found.append((values, since))
                written.setdefault(since, []).append(t)
                counts[0] += 1
            elif equal(ours, values):
                counts[2] += 1
            elif source == "rest" or (source == "archive" and self._is_archived(key, t, since)):
                since = self._free(key, t, max(now_ms, since + 1))
                found.append((values, since))
                written.setdefault(since, []).append(t)
                counts[1] += 1
            else:
                counts[3] += 1
                self._say_otherwise(key, t, values, source, known_at)
        if source == "archive":
            self.archived += [(key, min(ts), max(ts), since) for since, ts in written.items()]
        return counts[0], counts[1], counts[2], counts[3]

    def _say_otherwise(
        self, key: SeriesKey, t: int, values: Values, source: str, moment: int
    ) -> None:
        others = self.others.setdefault((key, t), [])
        known = {since for each, since in self.versions[key][t] if each is not None}
        known |= {since for _, since in others}
        if source == "archive":
            if any(_bytes(each) == _bytes(values) for each, _ in others):
                return
            while moment in known:
                moment += 1
        if moment not in known:
            others.append((values, moment))

    def _is_archived(self, key: SeriesKey, t: int, since: int) -> bool:
        return any(
            each == key and first <= t <= last and known == since
            for each, first, last, known in self.archived
        )

    def _free(self, key: SeriesKey, t: int, since: int) -> int:
        """No two versions of an instant are known since the same moment."""
        while since in {moment for _, moment in self.others.get((key, t), ())}:
            since += 1
        return since

    def missing(self, key: SeriesKey, instants: Sequence[int], *, asked: bool) -> list[int]:
        """The instants that are not stored, nor, if `asked`, answered."""
        versions = self.versions.get(key, {})
        stored = {t for t, found in versions.items() if found and found[-1][0] is not None}
        answered = self.answered.get(key, set()) if asked else set()
        return [t for t in instants if t not in stored and t not in answered]

    def retain(self, kind: str, interval_ms: int, before_ms: int) -> None:
        span_ms = interval_ms * CHUNK_INSTANTS
        first_ms = before_ms // span_ms * span_ms
        for key, every in self.versions.items():
            if (key.kind, key.interval_ms) == (kind, interval_ms):
                for t in [t for t in every if t < first_ms]:
                    del every[t]
                    self.others.pop((key, t), None)
        self.archived = [
            batch
            for batch in self.archived
            if (batch[0].kind, batch[0].interval_ms) != (kind, interval_ms) or batch[2] >= first_ms
        ]
        for key, answered in self.answered.items():
            if (key.kind, key.interval_ms) == (kind, interval_ms):
                answered -= {t for t in answered if t < first_ms}

    def read(
        self,
        key: SeriesKey,
        from_ms: int,
        to_ms: int,
        as_of_ms: int | None,
        unrecorded: bool,
    ) -> tuple[list[Row], int]:
        """The rows, and how many of them are unrecorded."""
        rows, count = [], 0
        for t, versions in sorted(self.versions.get(key, {}).items()):
            if not from_ms <= t < to_ms or not versions:
                continue
            known = [each for each in versions if as_of_ms is None or each[1] <= as_of_ms]
            if known:
                values, known_at = known[-1]
                if values is not None:
                    rows.append((t, values, known_at))
            elif unrecorded and as_of_ms is not None and t + key.public_after_ms <= as_of_ms:
                values, known_at = versions[0]
                assert values is not None
                rows.append((t, values, known_at))
                count += 1
        return rows, count

    def revisions(self, key: SeriesKey, from_ms: int, to_ms: int) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for t, versions in sorted(self.versions.get(key, {}).items()):
            if from_ms <= t < to_ms:
                ends = [*(known_at for _, known_at in versions[1:]), NEVER_MS]
                found: list[tuple[int, Values, int, int]] = [
                    (t, values, known_from, known_to)
                    for (values, known_from), known_to in zip(versions, ends, strict=True)
                    if values is not None
                ]
                others = self.others.get((key, t), [])
                found += [(t, values, moment, moment) for values, moment in others]
                rows += sorted(found, key=itemgetter(2))
        return rows


def equal(first: Values, second: Values) -> bool:
    pairs = zip(first, second, strict=True)
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


def _bytes(values: Values) -> bytes:
    return struct.pack(f"{len(values)}d", *values)
