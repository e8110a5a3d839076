"""Managed: one collector of a manager, brought into the state that is wanted of it."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from live.collector import BaseDataCollector
from live.data_types import CollectorConfig, CollectorStatus
from live.log_files import ComponentLogger
from live.operations import Operations
from live.user_calls import UserCalls
from texts.foreign import foreign_text

# Longer than what collectors promise of themselves: these hold for those that override it.
START_S: Final = 75.0
STOP_S: Final = 35.0
FORCED_STOP_S: Final = 10.0
_LONGEST_ERROR: Final = 500
_SICK: Final = (CollectorStatus.ERROR, CollectorStatus.UNHEALTHY, CollectorStatus.STOPPED)


class Managed:
    """A collector under its name in a manager. Nothing here raises what the collector raises."""

    def __init__(
        self,
        name: str,
        collector: BaseDataCollector,
        config: CollectorConfig | None,
        logger: ComponentLogger,
    ) -> None:
        self.name = name
        self.collector = collector
        self.enabled = config is None or config.enabled
        self.wanted = False  # enabled in a manager that runs
        self.restarts = 0
        self.errors = 0
        self.last_error: str | None = None
        self._config = config
        self._logger = logger
        self._begun = False  # started, and not stopped since
        self._failed_since_it_ran = False
        self._operations = Operations()
        self._calls = UserCalls()

    def want(self, wanted: bool) -> None:
        """Sets the wanted state; a start or restart that is going on is aborted by False."""
        if self.wanted and not wanted:
            self._operations.abort()
        self.wanted = wanted

    async def settle(self) -> None:
        """Starts or stops the collector until it is as it is wanted."""
        await self._operations.run(self._settle(), f"settle {self.name}")

    async def restart(self) -> bool:
        """Restarts the collector; whether it runs then. False if it is not wanted."""
        return await self._operations.run(self._restart(), f"restart {self.name}")

    def is_running(self) -> bool:
        return self._status_word() == CollectorStatus.RUNNING

    def is_failed(self) -> bool:
        """Wanted, and failed since it last ran; what it tries now may end that."""
        word = self._status_word()
        if word == CollectorStatus.RUNNING or not (self.wanted and self._begun):
            self._failed_since_it_ran = False
        elif word in _SICK:
            self._failed_since_it_ran = True
        return self._failed_since_it_ran

    def needs_restart(self) -> bool:
        """Failed, and to be restarted without being asked."""
        if self._operations.busy() or not self.is_failed() or self._status_word() not in _SICK:
            return False
        return self._ask(lambda: self.collector.auto_restart) is True

    def status(self) -> dict[str, Any]:
        """`get_collector_status` of the manager."""
        return {
            "name": self.name,
            "enabled": self.enabled,
            "config": None if self._config is None else asdict(self._config),
            "status": self._ask(self.collector.get_status),
            "health": self._ask(self.collector.get_health_status),
            "manager": {
                "restarts": self.restarts,
                "errors": self.errors,
                "last_error": self.last_error,
            },
        }

    async def _settle(self) -> bool:
        while self.wanted is not self._begun:
            if self.wanted:
                await self._start()
            else:
                await self._stop()
        return self.is_running()

    async def _start(self) -> None:
        self._begun = True
        if not await self._do("start", self.collector.start, START_S):
            self._logger.warning("collector_not_started", collector=self.name)

    async def _stop(self) -> None:
        self._begun = False
        if await self._do("stop", self.collector.stop, STOP_S) is _FAILED:
            await self._do("forced stop", self.collector.stop, FORCED_STOP_S, True)

    async def _restart(self) -> bool:
        if not self.wanted:
            return False
        self._begun = True
        self.restarts += 1
        self._logger.info("collector_restarting", collector=self.name)
        done = await self._do("restart", self.collector.restart, START_S + STOP_S)
        return done is not _FAILED and bool(done)

    async def _do(
        self, what: str, function: Callable[..., Any], within_s: float, *arguments: Any
    ) -> Any:
        """The result; _FAILED, which is false, if there is none."""
        try:
            return await self._calls.call(
                f"{what} of {self.name}", function, *arguments, within_s=within_s
            )
        except Exception as error:
            self._failed(f"{what}: {type(error).__name__}: {error}")
            return _FAILED

    def _ask(self, function: Callable[[], Any]) -> Any:
        """What the collector tells of itself; its error, if users' code raises one."""
        try:
            return function()
        except Exception as error:
            text = foreign_text(f"{type(error).__name__}: {error}", _LONGEST_ERROR)
            return {"status": CollectorStatus.ERROR.value, "error": text}

    def _status_word(self) -> str:
        told = self._ask(lambda: self.collector.get_health_status()["status"])
        return told if isinstance(told, str) else CollectorStatus.ERROR.value

    def _failed(self, text: str) -> None:
        self.errors += 1
        self.last_error = foreign_text(f"{self.name}: {text}", _LONGEST_ERROR)
        self._logger.error("collector_failed", collector=self.name, error=self.last_error)


class _Failed:
    """The result of what raised, or took too long."""

    def __bool__(self) -> bool:
        return False


_FAILED: Final = _Failed()
