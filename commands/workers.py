"""`workers`: lists workers, pauses and resumes them, runs one here and now, and shows their log."""

import argparse
import asyncio
import contextlib
import json
import time
from typing import Any, Final

import structlog

from commands.composition import holder_name, open_database, open_parts
from commands.errors import CommandError
from commands.runtime import cancelled_by
from commands.terminal import say
from commands.workers_part import load_workers
from config import Settings
from database import Database, LogFilter, LogLine
from timing.backoff import stop_or
from workers.control import Control
from workers.control_errors import ControlError

_BY: Final = "command line"
_LOOK_S: Final = 1.0  # for new lines, with --follow
_MOST_LINES: Final = 1000  # of one read


class WorkersError(CommandError):
    """A `workers` command was refused, or the worker that it ran has failed."""


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Runs the action and prints its result. Raises WorkersError."""
    if arguments.action == "logs" and arguments.follow:
        return await _follow(settings, stop, arguments)
    return await cancelled_by(stop, _run(settings, arguments))


async def _run(settings: Settings, arguments: argparse.Namespace) -> int:
    if arguments.action == "run":
        found = await _run_here(settings, arguments.name, arguments.input)
        say(json.dumps(found, default=str))
        return 0
    async with open_database(settings) as database:
        match arguments.action:
            case "pause" | "resume":
                await _switch(database, arguments.name, enabled=arguments.action == "resume")
            case "logs":
                for line in reversed(await _lines(database, arguments, newest=True)):
                    say(_as_text(line))
            case _:
                say(await list_workers(database))
    return 0


async def list_workers(database: Database) -> str:
    """A table as text: name, when it runs, its queue, whether it is on, when it runs next, and how
    the last run ended."""
    rows = await database.workers.all()
    latest = await database.run_rows.latest([row.name for row in rows])
    lines = [f"{'worker':<24} {'runs':<28} {'queue':<18} {'state':<8} {'next':<20} last run"]
    for row in rows:
        when = row.cron or (f"every {row.every_s} s" if row.every_s else "when asked")
        if row.kind == "websocket":
            when = "connected"
        elif row.cron:
            when = f"{when} {row.tz}"
        elif row.offset_s:
            when = f"{when}, {row.offset_s} s after"
        run = latest.get(row.name)
        last = "-" if run is None else f"{run.state} {_moment(run.finished_at_ms or run.slot_ms)}"
        lines.append(
            f"{row.name:<24} {when:<28} {row.runs_on:<18} {'on' if row.enabled else 'paused':<8}"
            f" {_moment(row.next_run_ms):<20} {last}"
        )
    on = sum(row.enabled for row in rows)
    lines.append(f"{len(rows)} workers, {on} of them on")
    if not rows:
        lines.append("a process with SCHEDULES=on (serve, worker, beat) stores them at its start")
    return "\n".join(lines)


async def _switch(database: Database, names: list[str], *, enabled: bool) -> None:
    control = Control(database, enqueue=None, cancel=None)
    try:
        for name in names:  # all or none
            await control.worker(name)
        for name in names:
            await control.set_enabled(name, enabled, _BY)
    except ControlError as error:
        raise WorkersError(f"{error}; `workers list` shows them") from None
    say(f"{len(set(names))} {'resumed' if enabled else 'paused'}")


async def _run_here(settings: Settings, name: str, given: dict[str, Any] | None) -> object:
    """What the worker returns. Raises WorkersError."""
    # Imported here: they load what other actions do not need.
    from workers.definition import WrongWorkers
    from workers.here import CannotRunHere, UnknownWorker, run_here

    async with open_parts(settings, "workers") as parts:
        try:
            async with load_workers(settings, parts) as (registry, maker):
                return await run_here(registry, maker, name, host=holder_name(), input=given)
        except (UnknownWorker, CannotRunHere, WrongWorkers) as error:
            raise WorkersError(str(error)) from None
        except Exception as error:  # whatever a worker raises
            structlog.get_logger(__name__).warning("worker_failed", worker=name, exc_info=error)
            raise WorkersError(f"worker {name}: {type(error).__name__}: {error}") from None


async def _lines(
    database: Database,
    arguments: argparse.Namespace,
    *,
    newest: bool,
    after: tuple[int, int] | None = None,
) -> list[LogLine]:
    wanted = LogFilter(worker=arguments.name, run=arguments.run, level=arguments.level)
    limit = arguments.lines if newest else _MOST_LINES
    return await database.execution_log.listed(wanted, limit=limit, newest=newest, after=after)


async def _follow(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Shows the newest lines, and those that come then, until it is stopped."""
    async with open_database(settings) as database:
        found = (await _lines(database, arguments, newest=True))[::-1]
        after = (0, 0)
        while True:
            for line in found:
                say(_as_text(line))
                after = line.cursor
            if len(found) < _MOST_LINES and await stop_or(stop, _LOOK_S):
                return 0
            found = await _lines(database, arguments, newest=False, after=after)


def _as_text(line: LogLine) -> str:
    fields = " ".join(f"{key}={_value(value)}" for key, value in line.fields.items())
    run = "" if line.run is None else f" run={line.run}"
    return (
        f"{_moment(line.at_ms)} {line.level:<8} {line.worker}{run} {line.event} {fields}".rstrip()
    )


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _moment(moment_ms: int | None) -> str:
    if moment_ms is None:
        return "-"
    with contextlib.suppress(ValueError, OverflowError, OSError):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment_ms / 1000))
    return str(moment_ms)
