"""`workers run NAME`: one run of a worker here and now, without the engine and without a row."""

import asyncio
import difflib
import inspect
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from stores.cold.pool import Connection
from timing.clock import now_ms
from workers.context import Context, ContextMaker
from workers.definition import WorkerDefinition
from workers.registry import Registry
from workers.run_handle import RunHandle
from workers.threads import in_thread


class UnknownWorker(Exception):
    """No worker has the name; `near` are names that look like it."""

    def __init__(self, name: str, known: list[str]) -> None:
        self.near = difflib.get_close_matches(name, known, 3)
        hint = f"did you mean {' or '.join(self.near)}?" if self.near else f"there are {known}"
        super().__init__(f"there is no worker {name[:80]!r}: {hint}")


class CannotRunHere(Exception):
    """The worker has no runs: it is a WebSocket worker."""


class TookTooLong(Exception):
    """The run did not end within its timeout."""


async def run_here(
    registry: Registry,
    maker: ContextMaker,
    name: str,
    *,
    host: str,
    input: Mapping[str, Any] | None = None,
) -> object:
    """What the worker's function returns. It runs once, whatever its schedule, queue and attempts
    are, and beside runs of other hosts; its log lines have no run.

    Raises UnknownWorker, CannotRunHere, TookTooLong, and what the function raises.
    """
    definition = _definition(registry, name)
    handle = RunHandle(
        run_id=0,
        worker=name,
        slot_ms=now_ms(),
        why="force",
        attempt=1,
        claim=uuid4(),
        host=host,
        check=_ours,
        still_ours=_still_ours,
        input=input,
    )
    try:
        async with maker.context(definition, handle) as context:
            return await _within_timeout(definition, context)
    finally:
        handle.lost.set()


async def _within_timeout(definition: WorkerDefinition, context: Context) -> object:
    timeout = asyncio.timeout(definition.timeout_s)
    try:
        async with timeout:
            function = definition.function
            if inspect.iscoroutinefunction(function):
                return await function(context)
            found = await in_thread(f"worker-{definition.name}", lambda: function(context))
            return await found if inspect.isawaitable(found) else found
    except TimeoutError:
        if not timeout.expired():
            raise  # of the function
        raise TookTooLong(
            f"worker {definition.name}: did not end within its timeout of"
            f" {definition.timeout_s:g} s"
        ) from None


def _definition(registry: Registry, name: str) -> WorkerDefinition:
    definition = registry.definitions.get(name)
    listed = sorted(one.name for one in registry.definitions.values() if one.listed)
    if definition is None:
        raise UnknownWorker(name, listed)
    if definition.kind == "websocket":
        raise CannotRunHere(f"{name} is a WebSocket worker: it has no runs; `worker` holds it")
    return definition


async def _ours(connection: Connection) -> None:
    """Nobody replaces a run that has no row."""


async def _still_ours() -> None:
    """The same."""
