"""ProcessOutputs: the outputs of a process, each opened once and shared by its collectors."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog

from live.outputs.output import Output
from timing.clock import Clock

_PAUSE_S: Final = 5.0

log = structlog.get_logger(__name__)


class ProcessOutputs:
    """`open_output(name)` makes one, which runs from its first use to `aclose`."""

    def __init__(self, open_output: Callable[[str], Output], clock: Clock) -> None:
        self._open_output = open_output
        self._clock = clock
        self._opened: dict[str, Output] = {}
        self._running: list[asyncio.Task[None]] = []

    def get(self, name: str) -> Output:
        """Raises DataValidationError for a name that is no output's."""
        found = self._opened.get(name)
        if found is None:
            found = self._opened[name] = self._open_output(name)
            self._running.append(asyncio.create_task(self._run(name, found), name=f"output {name}"))
        return found

    def status(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The status of those that are open, by name."""
        return {name: self._opened[name].status() for name in names if name in self._opened}

    async def aclose(self, within_s: float) -> None:
        """Lets them send what they hold."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=within_s)

    async def _run(self, name: str, output: Output) -> None:
        while True:
            try:
                await output.run()
            except Exception:
                log.exception("output_failed", output=name)
            await self._clock.sleep(_PAUSE_S)
