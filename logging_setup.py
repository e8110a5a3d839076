"""Structured logs: an event name and fields, for people (console) or machines (json)."""

import logging
import sys
from typing import Literal, TextIO

import structlog


class _CurrentStderr(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is now: a progress bar puts itself in between."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


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
        shared.append(structlog.processors.dict_tracebacks)
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
