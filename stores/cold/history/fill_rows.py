"""What sources beside the documents say of a series, and what filling it in has changed; no SQL."""

from dataclasses import dataclass
from typing import Final, Literal

from market.rows import Floats, Times
from stores.cold.history.series import SeriesKey, SeriesRows

# Asked of an exchange over REST; a file of its archive; a file that this service exported.
Source = Literal["rest", "archive", "export"]
REST: Final = "rest"
ARCHIVE: Final = "archive"
EXPORT: Final = "export"


@dataclass(frozen=True, slots=True)
class FillRows:
    """What a source says of a series from `from_ms` to before `to_ms` (UTC ms).

    `times` (n) ascend, on the grid and within the range; `values` (n, width). `known_at` (n): since
    when each is known, of exports alone; None: since it is filled in. `covered`: of REST alone, the
    exchange has answered for all of the range, on the grid of `step_ms` (None: of every instant),
    such as that of a coarser period of open interest.
    """

    key: SeriesKey
    from_ms: int
    to_ms: int
    times: Times
    values: Floats
    known_at: Times | None = None
    covered: bool = False
    step_ms: int | None = None

    def check(self, source: Source, now_ms: int) -> None:
        """Raises ValueError if they cannot be filled in as they are."""
        key = self.key
        SeriesRows(key, self.times, self.values).check()
        if not 0 <= self.from_ms < self.to_ms:
            raise ValueError(f"{key}: the range from {self.from_ms} to {self.to_ms} is empty")
        if len(self.times) and not self.from_ms <= self.times[0] <= self.times[-1] < self.to_ms:
            raise ValueError(f"{key}: times out of the range {self.from_ms} to {self.to_ms}")
        if self.covered and source != REST:
            raise ValueError(f"{key}: only REST answers for a whole range, not: {source}")
        if self.step_ms is not None and (self.step_ms < 1 or self.step_ms % key.interval_ms):
            raise ValueError(f"{key}: a step of {self.step_ms} ms is not of its grid")
        if (self.known_at is not None) != (source == EXPORT):
            raise ValueError(f"{key}: exports have times of knowledge, and only they")
        if self.known_at is not None:
            if self.known_at.shape != self.times.shape:
                raise ValueError(f"{key}: {len(self.known_at)} times of knowledge")
            if len(self.times) and (self.known_at.min() < 0 or self.known_at.max() > now_ms):
                raise ValueError(f"{key}: values that are known since a time that has not come")


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling changed, in rows. `kept`: ours stays where the source has another value, which
    becomes a revision that was never in force. `damaged`: left out, as they fall into chunks
    that a later release has written. `refused`: series whose names the database cannot hold."""

    added: int = 0
    corrected: int = 0
    unchanged: int = 0
    kept: int = 0
    damaged: int = 0
    refused: tuple[SeriesKey, ...] = ()

    def __add__(self, other: "Filled") -> "Filled":
        return Filled(
            self.added + other.added,
            self.corrected + other.corrected,
            self.unchanged + other.unchanged,
            self.kept + other.kept,
            self.damaged + other.damaged,
            tuple(sorted({*self.refused, *other.refused})),
        )


@dataclass(frozen=True, slots=True)
class Covered:
    """A range that an exchange has answered for completely, last at `checked_at_ms`, on the grid of
    `step_ms` (1: of every instant). What is not stored of it the exchange did not have then."""

    from_ms: int
    to_ms: int
    checked_at_ms: int
    step_ms: int = 1
