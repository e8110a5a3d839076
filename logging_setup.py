"""Structured logs, and how often the same thing is said."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any, Final, Literal, TextIO

import structlog


class _CurrentStderr(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is now: a progress bar puts itself in between."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


_THROTTLED_S: Final = 60.0


class ThrottledLog:
    """A logger for what strangers can cause: each event is logged once in a while at most.

    The lines left out are counted: `times` of the next one says how many it stands for.
    """

    def __init__(
        self,
        log: structlog.typing.FilteringBoundLogger,
        *,
        every_s: float = _THROTTLED_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._every_s = every_s
        self._clock = clock
        self._logged: dict[str, tuple[float | None, int]] = {}  # when last, and how often since

    def info(self, event: str, **fields: Any) -> None:
        if times := self._due(event):
            self._log.info(event, times=times, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        if times := self._due(event):
            self._log.warning(event, times=times, **fields)

    def _due(self, event: str) -> int:
        """How often it has happened since it was logged, this time included; 0: not yet due."""
        now = self._clock()
        at, times = self._logged.get(event, (None, 0))
        if at is not None and now - at < self._every_s:
            self._logged[event] = at, times + 1
            return 0
        self._logged[event] = now, 0
        return times + 1


_OUTAGE_AGAIN_S: Final = 60.0
_OUTAGE_LINES: Final = 5  # within that time, when reasons change or it comes and goes


class OutageLog:
    """One thing that may be away, as one user of it sees it.

    Call `failed` after each attempt that failed and `recovered` after each that did not: however
    often that is, a few lines a minute are written. The rest is written at the level DEBUG.
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

    def failed(self, reason: object, **fields: Any) -> None:
        """It failed, for this reason; another one than before is told at once."""
        now, text = self._clock(), str(reason)
        if self._since is None:
            self._since = now
        if not self._told_at or now - self._told_at[-1] >= _OUTAGE_AGAIN_S:
            self._reasons.clear()
        self._told_at = [told for told in self._told_at if now - told < _OUTAGE_AGAIN_S]
        if text in self._reasons or len(self._told_at) >= _OUTAGE_LINES:
            self._log.debug(self._event, error=text, **fields)
            return
        self._reasons.add(text)
        self._told_at.append(now)
        self._log.warning(self._event, error=text, for_s=round(now - self._since), **fields)

    def recovered(self, **fields: Any) -> None:
        """It works, again or as always."""
        if self._since is None:
            return
        say = self._log.info if self._reasons else self._log.debug
        say(self._over, after_s=round(self._clock() - self._since, 1), **fields)
        self._since = None
        self._reasons.clear()


def configure_logging(level: str, log_format: Literal["console", "json"]) -> None:
    """Sends structlog's and the standard library's records to stderr in one form.

    Fields bound with `structlog.contextvars` (a job's id) appear on every line of that context,
    the lines of libraries included.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.types.Processor
    if log_format == "json":
        # Without the variables of each frame: passwords and tokens are among them.
        frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shared.append(structlog.processors.ExceptionRenderer(frames))
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _CurrentStderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Libraries speak up only when something is wrong.
    for name in ("asyncio", "aiohttp", "uvicorn", "httpx"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
