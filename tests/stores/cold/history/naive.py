"""The record as a plain list of versions: what the tables must tell, as simply as possible."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from stores.cold.history.series import CHUNK_INSTANTS, NEVER_MS, SeriesKey

Values = tuple[float, ...]
Row = tuple[int, Values, int]  # time, values, known_at


@dataclass
class NaiveRecord:
    """For each series and time its versions, in order: values (None: removed), and since when."""

    versions: dict[SeriesKey, dict[int, list[tuple[Values | None, int]]]] = field(
        default_factory=dict
    )

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
                found.append((values, known_at_ms))
            elif found[-1][0] is None:
                found.append((values, max(known_at_ms, found[-1][1])))
            elif not equal(found[-1][0], values):
                found.append((values, max(known_at_ms, found[-1][1] + 1)))

    def retain(self, kind: str, interval_ms: int, before_ms: int) -> None:
        span_ms = interval_ms * CHUNK_INSTANTS
        first_ms = before_ms // span_ms * span_ms
        for key, every in self.versions.items():
            if (key.kind, key.interval_ms) == (kind, interval_ms):
                for t in [t for t in every if t < first_ms]:
                    del every[t]

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
                rows += [
                    (t, values, known_from, known_to)
                    for (values, known_from), known_to in zip(versions, ends, strict=True)
                    if values is not None
                ]
        return rows


def equal(first: Values, second: Values) -> bool:
    pairs = zip(first, second, strict=True)
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in pairs)
