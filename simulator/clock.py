"""Simulated exchange time: real, set, frozen or advanced, with a skew for each exchange."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping


class Clock:
    """Each exchange's time in UTC milliseconds.

    Rate limits use `flowing_ms`, which continues while the clock is frozen; otherwise a frozen
    exchange would never begin its next minute.
    """

    def __init__(
        self,
        now_ms: int | None = None,
        *,
        exchanges: Iterable[str] = (),
        frozen: bool = False,
        real_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._base_ms = real_ns() // 1_000_000 if now_ms is None else now_ms
        self._base_ns = monotonic_ns()
        self._frozen_ms = self._base_ms if frozen else None
        self._skew_ms = dict.fromkeys(exchanges, 0)

    @property
    def frozen(self) -> bool:
        return self._frozen_ms is not None

    @property
    def skew_ms(self) -> Mapping[str, int]:
        return self._skew_ms

    def flowing_ms(self) -> int:
        """The time that the clock would show if it were never frozen."""
        return self._base_ms + (self._monotonic_ns() - self._base_ns) // 1_000_000

    def monotonic_s(self) -> float:
        return self._monotonic_ns() / 1e9

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
        frozen: bool | None = None,
        skew_ms: Mapping[str, int] | None = None,
    ) -> None:
        """Changes the given values, keeps the others. Raises ValueError for unknown exchanges."""
        target_ms = (self.now_ms() if now_ms is None else now_ms) + advance_ms
        if frozen is None:
            frozen = self.frozen
        if self._frozen_ms is not None or now_ms is not None or advance_ms:
            self._base_ms, self._base_ns = target_ms, self._monotonic_ns()
        self._frozen_ms = target_ms if frozen else None
        for exchange, skew in (skew_ms or {}).items():
            if exchange not in self._skew_ms:
                raise ValueError(f"no exchange {exchange!r}")
            self._skew_ms[exchange] = skew
