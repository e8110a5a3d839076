"""Simulated exchange time: real, set, frozen, advanced or faster, with a skew for each exchange."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from simulator.instants import check_instant, iso

FASTEST: Final = 1000.0


class Clock:
    """Each exchange's time in UTC milliseconds, and the time that passes for the exchanges.

    Exchange time may be moved or frozen. `elapsed_s` and `flowing_ms` continue while it is frozen,
    otherwise a frozen exchange would never begin its next minute; a move is no time that passes,
    so no sliding window empties and no ban ends by it, unless it is time that passes at once. At
    `speed` 60 all of them pass 60 times as fast as real time. `monotonic_s` is always real.
    """

    def __init__(
        self,
        now_ms: int | None = None,
        *,
        exchanges: Iterable[str] = (),
        frozen: bool = False,
        speed: float = 1,
        real_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._base_ms = check_instant(real_ns() // 1_000_000 if now_ms is None else now_ms)
        self._frozen_ms = self._base_ms if frozen else None
        self._skew_ms = dict.fromkeys(exchanges, 0)
        self._speed = _checked_speed(speed)
        self._speed_since_ns = self._elapsed_before_ns = monotonic_ns()
        self._base_ns = self._elapsed_before_ns

    @property
    def frozen(self) -> bool:
        return self._frozen_ms is not None

    @property
    def speed(self) -> float:
        return self._speed

    @property
    def skew_ms(self) -> Mapping[str, int]:
        return self._skew_ms

    def flowing_ms(self) -> int:
        """The time that the clock would show if it were never frozen."""
        return self._base_ms + (self._elapsed_ns() - self._base_ns) // 1_000_000

    def elapsed_s(self) -> float:
        """Seconds that have passed for the exchanges, from an arbitrary start."""
        return self._elapsed_ns() / 1e9

    def monotonic_s(self) -> float:
        """Real seconds, from an arbitrary start."""
        return self._monotonic_ns() / 1e9

    def real_s(self, seconds: float) -> float:
        """The real seconds in which so many pass for the exchanges."""
        return seconds / self._speed

    def now_ms(self, exchange: str | None = None) -> int:
        """The time of `exchange`; without one, the time before any skew."""
        now_ms = self.flowing_ms() if self._frozen_ms is None else self._frozen_ms
        return now_ms + (self._skew_ms[exchange] if exchange else 0)

    @contextlib.contextmanager
    def moved(self, exchange: str, offset_ms: int) -> Iterator[None]:
        """Moves the exchange's time, and nothing else, inside the `with`."""
        self._skew_ms[exchange] += offset_ms
        try:
            yield
        finally:
            self._skew_ms[exchange] -= offset_ms

    def set(
        self,
        *,
        now_ms: int | None = None,
        advance_ms: int = 0,
        pass_ms: int = 0,
        frozen: bool | None = None,
        speed: float | None = None,
        skew_ms: Mapping[str, int] | None = None,
    ) -> None:
        """Changes the given values, keeps the others. `advance_ms` moves the time that is shown;
        `pass_ms` passes at once for everything.

        Time may go backwards: markets are functions of time, so each shows what it showed then.
        Raises ValueError for unknown exchanges, speeds and times that cannot be; nothing is changed
        then.
        """
        if pass_ms < 0:
            raise ValueError(f"pass_ms must be at least 0, not {pass_ms}")
        target_ms = (self.now_ms() if now_ms is None else now_ms) + advance_ms + pass_ms
        skews = {**self._skew_ms, **(skew_ms or {})}
        for exchange in skews:
            if exchange not in self._skew_ms:
                raise ValueError(f"no exchange {exchange!r}: {', '.join(self._skew_ms)}")
        for time_ms in (target_ms, *(target_ms + skew for skew in skews.values())):
            check_instant(time_ms)
        new_speed = self._speed if speed is None else _checked_speed(speed)

        elapsed_ns = self._elapsed_ns() + pass_ms * 1_000_000
        if self._frozen_ms is not None or now_ms is not None or advance_ms:
            self._base_ms, self._base_ns = target_ms, elapsed_ns
        if frozen is None:
            frozen = self.frozen
        self._frozen_ms = target_ms if frozen else None
        self._skew_ms = skews
        self._speed_since_ns, self._elapsed_before_ns = self._monotonic_ns(), elapsed_ns
        self._speed = new_speed

    def as_json(self) -> dict[str, object]:
        """All values as GET /sim/clock shows them."""
        now_ms = self.now_ms()
        return {
            "now": iso(now_ms),
            "now_ms": now_ms,
            "frozen": self.frozen,
            "speed": self._speed,
            "skew_ms": dict(self._skew_ms),
            **{f"{name}_ms": now_ms + skew_ms for name, skew_ms in self._skew_ms.items()},
        }

    def _elapsed_ns(self) -> int:
        since_ns = self._monotonic_ns() - self._speed_since_ns
        return self._elapsed_before_ns + int(since_ns * self._speed)


def _checked_speed(speed: float) -> float:
    if not 1 <= speed <= FASTEST:
        raise ValueError(f"speed must be 1 to {FASTEST:.0f}, not {speed}")
    return speed
