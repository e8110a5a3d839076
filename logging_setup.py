"""Structured logging to stderr, and loggers that limit how often one event is logged."""

import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Literal, Protocol, TextIO

import structlog

from texts.json_texts import with_texts
from texts.printable import printable
from texts.redaction import Redactor


class EventLog(Protocol):
    """A logger of events with fields: structlog's, or that of a component (live/log_files.py)."""

    @property
    def debug(self) -> Callable[..., Any]: ...
    @property
    def info(self) -> Callable[..., Any]: ...
    @property
    def warning(self) -> Callable[..., Any]: ...
    @property
    def exception(self) -> Callable[..., Any]: ...


class _CurrentStderr(logging.StreamHandler[TextIO]):
    """Writes to the current sys.stderr, which a progress bar may replace."""

    def __init__(self, clean: "_Clean") -> None:
        super().__init__()
        self.clean = clean

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


_THROTTLED_S: Final = 60.0


class ThrottledLog:
    """A logger for events that clients can cause: it logs each event once per `every_s` at most.

    The field `times` counts the occurrences since the last logged line, this one included.
    """

    def __init__(
        self,
        log: EventLog,
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
        """The occurrences since the last logged line, this one included; 0 if it is not due."""
        now = self._clock()
        at, times = self._logged.get(event, (None, 0))
        if at is not None and now - at < self._every_s:
            self._logged[event] = at, times + 1
            return 0
        self._logged[event] = now, 0
        return times + 1


_OUTAGE_AGAIN_S: Final = 60.0
_OUTAGE_LINES: Final = 5  # within that time, if reasons change or the outage comes and goes


class OutageLog:
    """Logs the beginning and the end of an outage, and few lines in between.

    Call `failed` after each failed attempt and `recovered` after each successful one. At most
    _OUTAGE_LINES a minute are warnings; the others have the level DEBUG. A reason that has been
    told is told again after `again_s`.
    """

    def __init__(
        self,
        log: EventLog,
        event: str,
        over: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        again_s: float = _OUTAGE_AGAIN_S,
    ) -> None:
        """`event` is logged when an attempt failed, `over` when the outage ends."""
        self._log = log
        self._event = event
        self._over = over
        self._clock = clock
        self._again_s = again_s
        self._since: float | None = None
        self._logged_s: float | None = None  # when a line was last logged
        self._logged_at: list[float] = []  # within the last minute
        self._reasons: set[str] = set()  # that have been told

    def failed(self, reason: object, **fields: Any) -> None:
        """Records a failed attempt; a reason that differs from the earlier ones is logged."""
        now, text = self._clock(), str(reason)
        again_s = self._again_s
        if self._since is None:
            self._since, again_s = now, _OUTAGE_AGAIN_S
        if self._logged_s is None or now - self._logged_s >= again_s:
            self._reasons.clear()
        self._logged_at = [at for at in self._logged_at if now - at < _OUTAGE_AGAIN_S]
        if text in self._reasons or len(self._logged_at) >= _OUTAGE_LINES:
            self._log.debug(self._event, error=text, **fields)
            return
        self._reasons.add(text)
        self._logged_s = now
        self._logged_at.append(now)
        self._log.warning(self._event, error=text, for_s=round(now - self._since), **fields)

    def recovered(self, **fields: Any) -> None:
        """Records a successful attempt, and logs the end of an outage."""
        if self._since is None:
            return
        write = self._log.info if self._reasons else self._log.debug
        write(self._over, after_s=round(self._clock() - self._since, 1), **fields)
        self._since = None
        self._reasons.clear()


class _Clean:
    """Makes the texts of a record fit for a log: unprintable characters become escapes, so that
    no name of others reaches a terminal as a command, and known secrets are hidden, which is a
    last resort: no error should hold one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = frozenset(secrets)
        self._redactor = Redactor(self._secrets)

    def hide(self, secrets: Iterable[str]) -> None:
        """Hides these too from now on."""
        if not self._secrets.issuperset(added := frozenset(secrets)):
            self._secrets |= added
            self._redactor = Redactor(self._secrets)

    def __call__(
        self, _: object, __: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        return self.fields(event)

    def fields(self, event: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._cleaned(name, value) for name, value in event.items()}

    def hidden(self, text: str) -> str:
        """The text with known secrets hidden, and nothing else changed."""
        return self._redactor.clean(text)

    def lines(self, text: str) -> str:
        """A text of several lines, such as a traceback."""
        return printable(self._redactor.clean(text), keep="\n")

    def traceback(self, out: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
        """Writes a traceback, without the values of variables."""
        text = io.StringIO()
        structlog.dev.plain_traceback(text, exc_info)
        out.write(self.lines(text.getvalue()))

    def _cleaned(self, name: object, value: Any) -> Any:
        if name == "exc_info" or value is None or isinstance(value, bool | int | float):
            return value  # a traceback is formatted, and cleaned, later
        if isinstance(value, str):
            return self.lines(value) if name == "stack" else printable(self._redactor.clean(value))
        if isinstance(value, dict):
            return {
                printable(self._redactor.clean(str(key))): self._cleaned(None, item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._cleaned(None, item) for item in value]
        return printable(self._redactor.clean(repr(value)))


class FieldsLine:
    """A message of the standard library's logging that has fields, beside its text."""

    def __init__(self, event: str, fields: Mapping[str, Any]) -> None:
        self.event = event
        self.fields = fields

    def __str__(self) -> str:
        return " ".join([self.event, *(f"{name}={value}" for name, value in self.fields.items())])


def _fields_of_line(
    _: object, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Takes the fields of a FieldsLine as fields of the event."""
    line = event["_record"].msg
    if isinstance(line, FieldsLine):
        event["event"] = line.event
        event.update(line.fields)
    return event


def cleaned_lines(text: str) -> str:
    """A text as the configured log shows it: unprintable characters but line breaks as escapes,
    known secrets hidden. For log files, which others than the console have."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _CurrentStderr):
            return handler.clean.lines(text)
    return printable(text, keep="\n")


def hide_secrets(secrets: Iterable[str]) -> None:
    """Hides texts in the configured log from now on, which became known after its start."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _CurrentStderr):
            handler.clean.hide(secrets)


def without_secrets(json_text: str) -> str:
    """A text of JSON without the secrets that the configured log hides, in ASCII."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _CurrentStderr):
            return json.dumps(with_texts(json.loads(json_text), handler.clean.hidden))
    return json_text


def cleaned_fields(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event's fields as the configured log shows them: printable, and known secrets hidden.
    For logs that others than the console have."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _CurrentStderr):
            return handler.clean.fields(event)
    return _Clean(()).fields(event)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Logs what would end the program with a traceback of the interpreter's own form."""
    structlog.get_logger("main").critical("crashed", exc_info=(kind, error, trace))


def configure_logging(
    level: str, log_format: Literal["console", "json"], secrets: Iterable[str] = ()
) -> None:
    """Sends structlog's and the standard library's records to stderr in one form.

    Fields bound with `structlog.contextvars` (a job's id) appear on every line of that context,
    the lines of libraries included. `secrets` are hidden wherever they appear.
    """
    clean = _Clean(secrets)
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.types.Processor
    if log_format == "json":
        # Local variables are left out, because they may hold passwords and tokens.
        frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shared.append(structlog.processors.ExceptionRenderer(frames))
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=clean.traceback
        )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _CurrentStderr(clean)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_fields_of_line, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                clean,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    sys.excepthook = _log_uncaught
    # Libraries log warnings and errors only.
    for name in ("asyncio", "aiohttp", "uvicorn", "httpx", "pgqueuer", "urllib3", "oauthlib"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
