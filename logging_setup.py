"""Structured logs: an event name and fields, for people (console) or machines (json)."""

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


_SELDOM_S: Final = 60.0


class Seldom:
    """A logger for what strangers can cause: each event is logged once in a while at most.

    The lines left out are counted: `times` of the next one says how many it stands for.
    """

    def __init__(
        self,
        log: structlog.typing.FilteringBoundLogger,
        *,
        every_s: float = _SELDOM_S,
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
