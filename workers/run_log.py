"""RunLog: copies lines that workers log into execution_log, without ever making them wait.

Every line of the process passes a handler beside the console's, structlog's lines and those of the
standard library. Lines logged while the contextvars `worker` (and `run`) are bound are kept in
memory, in bounds, and written in batches. What does not fit while the database is away is counted,
and the count is written as a line once it is back.
"""

import asyncio
import json
import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import structlog

from database import DatabaseUnavailable
from logging_setup import OutageLog, cleaned_fields, cleaned_lines
from stores.cold.workers.log import ExecutionLog, NewLine
from texts.foreign import cut
from timing.backoff import stop_or, within_after
from timing.clock import now_ms

EVERY_S: Final = 0.2
MOST_LINES: Final = 10_000
MOST_CHARACTERS: Final = 8_000_000  # of all lines that wait
LONGEST_EVENT: Final = 2_000
LONGEST_FIELDS: Final = 16_000  # characters as JSON; of longer ones each value is cut
DROPPED: Final = "log_lines_dropped"
_BATCH: Final = 5_000
_LONGEST_TAKEN: Final = 20_000  # of a text; more than is stored
_PER_FIELD: Final = 50  # characters that a field counts as, beside its text
_AGAIN_S: Final = 1.0  # after a batch could not be written
_LAST_S: Final = 5.0  # for what is left at the end
_INT64: Final = 2**63
# structlog's own keys, which are columns of the table or say nothing.
_NO_FIELDS: Final = frozenset(
    ("level", "logger", "timestamp", "exc_info", "worker", "run", "_record", "stack_info")
)
_LEVELS: Final = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)

_log = structlog.get_logger(__name__)


class _Taken(NamedTuple):
    """A line as it was logged; values that can change or be large are made texts at once."""

    at_ms: int
    worker: str
    run: int | None
    level: str
    event: Mapping[str, Any]
    size: int


@dataclass(slots=True)
class _Dropped:
    """Lines of one worker that were dropped, from when to when, UTC ms."""

    lines: int
    from_ms: int
    to_ms: int


class _Handler(logging.Handler):
    """Calls `take` for each line of the process; the handler's lock is held, never for long."""

    def __init__(self, take: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        self._take(record)


class RunLog:
    """The lines that wait to be written; one for a process. `host`: whose lines they are."""

    def __init__(
        self,
        table: ExecutionLog,
        host: str,
        *,
        most_lines: int = MOST_LINES,
        most_characters: int = MOST_CHARACTERS,
        every_s: float = EVERY_S,
        now_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._handler = _Handler(self._take_line)
        self._table = table
        self._host = host
        self._most_lines = most_lines
        self._most_characters = most_characters
        self._every_s = every_s
        self._now_ms = now_ms
        self._waiting: deque[_Taken] = deque()
        self._characters = 0
        self._dropped: dict[str, _Dropped] = {}
        self._outage = OutageLog(_log, "run_log_not_written", "run_log_written")

    def _take_line(self, record: logging.LogRecord) -> None:
        """Keeps the line, if it is a worker's; with the handler's lock."""
        bound = structlog.contextvars.get_contextvars()
        worker = bound.get("worker")
        if not isinstance(worker, str):
            return
        try:
            line = _taken(record, worker, bound.get("run"))
        except Exception:  # whatever the __repr__ of a user's object raises must not end the run
            self._count_dropped(worker, int(record.created * 1000), 1)
            return
        self._waiting.append(line)
        self._characters += line.size
        self._keep_bounds()

    async def flush(self, stop: asyncio.Event) -> None:
        """Takes lines and writes them until `stop` is set, and what is left then, within 5 s.

        Never raises because of the database. Set `stop` after the runs have ended.
        """
        with self.taking():
            while not stop.is_set():
                written = await within_after(stop, _LAST_S, self._write_waiting())
                await stop_or(stop, self._every_s if written else _AGAIN_S)
        await within_after(stop, _LAST_S, self._write_waiting())
        if self._waiting:
            _log.warning("run_log_lost", lines=len(self._waiting))

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Lines that are logged within it are taken."""
        root = logging.getLogger()
        root.addHandler(self._handler)
        try:
            yield
        finally:
            root.removeHandler(self._handler)

    async def _write_waiting(self) -> bool:
        """Writes all that waits; whether that succeeded."""
        while self._waiting or self._dropped:
            lines, dropped = self._take()
            told = [_told(worker, one, self._host, self._now_ms()) for worker, one in dropped]
            try:
                new = await asyncio.to_thread(self._new_lines, lines)
                await self._table.write([*new, *told])
            except DatabaseUnavailable as error:
                self._put_back(lines, dropped)
                self._outage.failed(error)
                return False
            except BaseException:
                self._put_back(lines, dropped)
                raise
            self._outage.recovered()
        return True

    def _new_lines(self, lines: Iterable[_Taken]) -> list[NewLine]:
        return [_new_line(line, self._host) for line in lines]

    def _take(self) -> tuple[list[_Taken], list[tuple[str, _Dropped]]]:
        with self._locked():
            count = min(len(self._waiting), _BATCH)
            lines = [self._waiting.popleft() for _ in range(count)]
            self._characters -= sum(line.size for line in lines)
            dropped, self._dropped = self._dropped, {}
        return lines, list(dropped.items())

    def _put_back(self, lines: list[_Taken], dropped: Iterable[tuple[str, _Dropped]]) -> None:
        with self._locked():
            self._waiting.extendleft(reversed(lines))
            self._characters += sum(line.size for line in lines)
            for worker, one in dropped:
                self._count_dropped(worker, one.from_ms, one.lines, one.to_ms)
            self._keep_bounds()

    def _keep_bounds(self) -> None:
        """Drops the oldest lines; with the lock."""
        while len(self._waiting) > self._most_lines or self._characters > self._most_characters:
            line = self._waiting.popleft()
            self._characters -= line.size
            self._count_dropped(line.worker, line.at_ms, 1)

    def _count_dropped(self, worker: str, at_ms: int, lines: int, to_ms: int | None = None) -> None:
        found = self._dropped.setdefault(worker, _Dropped(0, at_ms, at_ms))
        found.lines += lines
        found.from_ms = min(found.from_ms, at_ms)
        found.to_ms = max(found.to_ms, at_ms if to_ms is None else to_ms)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._handler.acquire()
        try:
            yield
        finally:
            self._handler.release()


def _taken(record: logging.LogRecord, worker: str, run: object) -> _Taken:
    event: Mapping[str, Any] = record.msg if isinstance(record.msg, dict) else _foreign(record)
    kept: dict[str, Any] = {}
    size = 0
    for name, value in event.items():
        if name in _NO_FIELDS:
            continue
        if isinstance(value, str):
            value = value[:_LONGEST_TAKEN]
            size += len(value)
        elif value is not None and not isinstance(value, bool | int | float):
            value = cleaned_fields({"value": value})["value"]
            size += len(str(value))
        kept[name] = value
        size += _PER_FIELD
    trace = event.get("exc_info") or record.exc_info
    if trace and "exception" not in kept:
        kept["exception"] = _traceback(trace)
        size += len(kept["exception"])
    return _Taken(
        at_ms=int(record.created * 1000),
        worker=worker,
        run=run if isinstance(run, int) and 0 <= run < _INT64 else None,
        level=next((name for least, name in _LEVELS if record.levelno >= least), "debug"),
        event=kept,
        size=size,
    )


def _new_line(taken: _Taken, host: str) -> NewLine:
    """The line as it is stored: printable, in bounds, secrets hidden."""
    cleaned = cleaned_fields({str(name): value for name, value in taken.event.items()})
    trace = taken.event.get("exception")
    if isinstance(trace, str):
        cleaned["exception"] = cleaned_lines(trace)  # its lines stay lines
    event = cut(str(cleaned.pop("event", "")), LONGEST_EVENT)
    return NewLine(
        *(taken.at_ms, taken.worker, taken.run, host, taken.level), event, _as_json(cleaned)
    )


def _foreign(record: logging.LogRecord) -> Mapping[str, Any]:
    """A line of the standard library's logging; logging_setup.FieldsLine has fields."""
    fields = getattr(record.msg, "fields", None)
    if isinstance(fields, Mapping):
        return {**fields, "event": getattr(record.msg, "event", "")}
    return {"event": record.getMessage()}


def _traceback(trace: Any) -> str:
    if isinstance(trace, BaseException):
        error: BaseException | None = trace
    elif isinstance(trace, tuple):
        error = trace[1]
    else:  # True: the one that is being handled
        error = sys.exc_info()[1]
    return "" if error is None else "".join(traceback.format_exception(error))


def _as_json(fields: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(fields, allow_nan=False)
    except ValueError:  # NaN and Infinity are no JSON
        fields = json.loads(json.dumps(fields), parse_constant=str)
        text = json.dumps(fields)
    if len(text) <= LONGEST_FIELDS:
        return text
    each = max(LONGEST_FIELDS // (len(fields) * 2), 10)
    shown = {cut(name, 80): cut(_shown(value), each) for name, value in fields.items()}
    return json.dumps(dict([*shown.items()][:200]))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _told(worker: str, dropped: _Dropped, host: str, now_ms: int) -> NewLine:
    fields = {"lines": dropped.lines, "from_ms": dropped.from_ms, "to_ms": dropped.to_ms}
    return NewLine(now_ms, worker, None, host, "warning", DROPPED, json.dumps(fields))
