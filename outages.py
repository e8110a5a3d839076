"""What is away, in the log: said when it begins, once a minute while it lasts, and when it ends."""

import time
from collections.abc import Callable
from typing import Any, Final

import structlog

_AGAIN_S: Final = 60.0
_LINES: Final = 5  # within that time, when reasons change or it comes and goes


class Outage:
    """One thing that may be away, as one user of it sees it.

    Call `lasts` after each attempt that failed and `over` after each that did not: however often
    that is, a few lines a minute are written. The rest is written at the level DEBUG.
    """

    def __init__(
        self,
        log: structlog.stdlib.BoundLogger,
        event: str,
        over: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`event` and `over` are the names of the lines at its beginning and its end."""
        self._log = log
        self._event = event
        self._over = over
        self._clock = clock
        self._since: float | None = None
        self._told_at: list[float] = []  # within the last minute
        self._reasons: set[str] = set()  # of this outage, told within the last minute

    def lasts(self, reason: object, **fields: Any) -> None:
        """It failed, for this reason; another one than before is told at once."""
        now, text = self._clock(), str(reason)
        if self._since is None:
            self._since = now
        if not self._told_at or now - self._told_at[-1] >= _AGAIN_S:
            self._reasons.clear()
        self._told_at = [told for told in self._told_at if now - told < _AGAIN_S]
        if text in self._reasons or len(self._told_at) >= _LINES:
            self._log.debug(self._event, error=text, **fields)
            return
        self._reasons.add(text)
        self._told_at.append(now)
        self._log.warning(self._event, error=text, for_s=round(now - self._since), **fields)

    def over(self, **fields: Any) -> None:
        """It works, again or as always."""
        if self._since is None:
            return
        say = self._log.info if self._reasons else self._log.debug
        say(self._over, after_s=round(self._clock() - self._since, 1), **fields)
        self._since = None
        self._reasons.clear()
