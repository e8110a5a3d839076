"""@schedule and @websocket: declare workers; importing a module with them starts nothing."""

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from workers.base_classes import ScheduleBaseWorker, WebSocketBaseWorker, function_of
from workers.declared import DECLARED, Declaration, place_of
from workers.declaring import Declaring, told
from workers.definition import ANY_EGRESS, DEFAULT_QUEUE, Function, OnMissed
from workers.refresh_rest import asking_the_rest
from workers.streams.options import StreamOptions

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_BIG_LETTER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def schedule(
    cron: str | None = None,
    *,
    every: str | int | None = None,
    offset: str | int = 0,
    tz: str | None = None,
    timeout: float | str = 300,
    attempts: int = 3,
    queue: str = DEFAULT_QUEUE,
    egress: str = ANY_EGRESS,
    kind: Literal["schedule", "refresh"] = "schedule",
    timeframes: str | Sequence[str] | None = None,
    jobs: str | Sequence[str] | None = None,
    config: type[BaseModel] | None = None,
    on_missed: OnMissed = "one",
    enabled: bool = True,
    name: str | None = None,
) -> Callable[[Decorated], Decorated]:
    """A worker that runs at set times: an async function, a plain one, which runs in a thread, or
    a class on ScheduleBaseWorker. It gets a Context, and what it returns is the run's result.

    `cron`: five fields, in the zone `tz` (default SCHEDULE_TZ); or `every`: a period such as `5m`,
    aligned to the epoch, `offset` after it; with neither it runs when it is asked to alone.
    `timeout` (seconds or a period) is for one attempt of `attempts`. `queue` and `egress` say which
    hosts may run it. `kind="refresh"` asks for the collections of `timeframes`, and for `jobs` (ids
    such as `funding`), also while PostgreSQL is away. `config`: the pydantic model of its
    configuration. `on_missed`: whether missed firings are made up by one, or skipped. `name`: else
    the function's, or the class's in lower case with underscores.

    Mistakes are told when the worker process starts, all at once, with file and line.
    """
    frame = sys._getframe(1)
    place = place_of(frame)

    def declare(decorated: Decorated) -> Decorated:
        declaring = Declaring()
        function = _function(declaring, decorated, ScheduleBaseWorker)
        expression, every_s, offset_s, zone = declaring.schedule(cron, every, offset, tz)
        refreshes = declaring.refreshes(kind, timeframes, jobs)
        values = {
            "name": declaring.name(_name_of(decorated, name)),
            "kind": "schedule",
            "function": asking_the_rest(function, refreshes, offset_s) if refreshes else function,
            "place": place,
            "cron": expression,
            "every_s": every_s,
            "offset_s": offset_s,
            "tz": zone,
            "queue": declaring.queue(queue),
            "egress": declaring.egress(egress),
            "timeout_s": declaring.timeout(timeout),
            "max_attempts": declaring.attempts(attempts),
            "on_missed": declaring.one_of("on_missed", on_missed, "one", "skip"),
            "enabled": declaring.flag("enabled", enabled),
            "refreshes": refreshes,
            "config": declaring.config(config),
            "description": _description(decorated),
        }
        _note(declaring, frame, place, values)
        return decorated

    return declare


def websocket(
    url: str | None = None,
    *,
    egress: str = ANY_EGRESS,
    config: type[BaseModel] | None = None,
    enabled: bool = True,
    name: str | None = None,
    **options: Any,
) -> Callable[[Decorated], Decorated]:
    """A worker that keeps a WebSocket open, on one host at a time: an async function that reads
    `feed.messages()`; a plain one of feed and message, which is called for each message in a
    thread; or a class on WebSocketBaseWorker.

    `url`: ws:// or wss://; the value `url` of its configuration takes its place. `egress`,
    `config`, `enabled` and `name` as of `schedule`. `options`: see workers.streams.options.
    """
    frame = sys._getframe(1)
    place = place_of(frame)

    def declare(decorated: Decorated) -> Decorated:
        declaring = Declaring()
        function = _function(declaring, decorated, WebSocketBaseWorker)
        declaring.read("options", lambda: StreamOptions.of(options), StreamOptions())
        values = {
            "name": declaring.name(_name_of(decorated, name)),
            "kind": "websocket",
            "function": function,
            "place": place,
            "url": declaring.url(url),
            "egress": declaring.egress(egress),
            "config": declaring.config(config),
            "enabled": declaring.flag("enabled", enabled),
            "description": _description(decorated),
            "options": options,
        }
        _note(declaring, frame, place, values)
        return decorated

    return declare


def _note(declaring: Declaring, frame: FrameType, place: str, values: dict[str, Any]) -> None:
    module = str(frame.f_globals.get("__name__", ""))
    mistakes = tuple(f"worker {values['name']}: {mistake}" for mistake in declaring.mistakes)
    DECLARED.append(Declaration(place, module, declaring.definition(values), mistakes))


def _function(declaring: Declaring, decorated: Any, base: type[Any]) -> Function:
    """What is called with a Context: the function itself, or a new object of the class."""
    if isinstance(decorated, type):
        if issubclass(decorated, base) and not inspect.isabstract(decorated):
            return function_of(decorated) if base is ScheduleBaseWorker else decorated
        lacking = ", ".join(sorted(getattr(decorated, "__abstractmethods__", ())))
        wanted = f"must define {lacking}" if lacking else f"must be based on {base.__name__}"
        declaring.wrong("class", f"{decorated.__name__} {wanted}")
    elif not inspect.isfunction(decorated):
        declaring.wrong("function", f"{told(decorated)} is neither a function nor a class")
    elif inspect.isgeneratorfunction(decorated) or inspect.isasyncgenfunction(decorated):
        declaring.wrong("function", "has a yield: a worker returns its result")
    else:
        of_messages = base is WebSocketBaseWorker and not inspect.iscoroutinefunction(decorated)
        _check_arguments(declaring, decorated, ("feed", "message") if of_messages else ("job",))
    return decorated  # type: ignore[no-any-return]  # where it is wrong, it is never called


def _check_arguments(
    declaring: Declaring, function: Callable[..., Any], given: tuple[str, ...]
) -> None:
    try:
        inspect.signature(function).bind(*given)
    except TypeError:
        declaring.wrong("function", f"must take {len(given)} argument(s): {', '.join(given)}")


def _name_of(decorated: Any, name: str | None) -> str:
    if name is not None:
        return str(name)
    found = str(getattr(decorated, "__name__", "?"))
    return _BIG_LETTER.sub("_", found).lower() if isinstance(decorated, type) else found


def _description(decorated: object) -> str:
    """The first paragraph of the docstring, on one line."""
    text = inspect.getdoc(decorated) if getattr(decorated, "__doc__", None) else None
    return " ".join((text or "").partition("\n\n")[0].split())[:500]
