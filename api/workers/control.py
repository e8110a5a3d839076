"""The control of workers for routes: the live state beside the rows, and errors as answers."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from copy import copy
from typing import Final, NoReturn, Self, TypeVar

from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError

from addresses.environment import environment_of
from api.parts import Parts
from api.workers.asking import DEADLINE_S, asked
from config import Settings
from stores.hot.store import StoreUnavailable
from texts.foreign import cut, foreign_text
from texts.hidden_addresses import without_addresses
from workers.config_control import (
    ConfigControl,
    UnknownConfigKey,
    UnknownConfigWorker,
    WrongConfigValue,
)
from workers.control import Control
from workers.control_errors import CannotRun, ControlError, Unknown, WrongChange
from workers.lazy_engine import LazyEngine
from workers.state import WorkerState, worker_states

STORE_DEADLINE_S: Final = 2.0
_LEAST_S: Final = 0.2
BY: Final = "api"  # who has changed what is changed here
_LONGEST_TOLD: Final = 1000
_OFF: Final = "SCHEDULES is off, so no worker runs: start the service with SCHEDULES=on"
_REFUSED: Final = (ControlError, UnknownConfigWorker, UnknownConfigKey, WrongConfigValue)

T = TypeVar("T")


class WorkerControl:
    """`control` of workers, runs and queues, and `configuration`, for the routes of a process."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self._parts = parts
        self._until_s: float | None = None
        self.runs_here = settings.schedules == "on"
        engine = LazyEngine(parts.database, settings.pgqueuer_schema) if self.runs_here else None
        self.control = Control(
            parts.database,
            enqueue=None if engine is None else engine.enqueue,
            cancel=None if engine is None else engine.cancel,
        )
        self.configuration = ConfigControl(parts.database.worker_config, environment_of())

    def of_one_request(self) -> Self:
        """The same for one request, all of whose asking has to end in time together."""
        found = copy(self)
        found._until_s = None
        return found

    def require_engine(self) -> None:
        """Raises 409 where SCHEDULES is off."""
        if not self.runs_here:
            raise HTTPException(409, _OFF)

    async def ask(self, asking: Awaitable[T]) -> T:
        """What it returns; its errors are those of an answer: 404 with near names, 409 or 422 with
        what is allowed. Raises DatabaseUnavailable where nothing comes in time."""
        try:
            return await asked(asking, self._left_s())
        except _REFUSED as error:
            refuse(error)

    async def live(self, names: Iterable[str]) -> tuple[Mapping[str, WorkerState], str]:
        """What the hot store knows of these workers; and `ok`, or why it tells nothing."""
        return await self.ask_store(worker_states(self._parts.store, list(names)), {})

    async def ask_store(self, asking: Awaitable[T], otherwise: T) -> tuple[T, str]:
        """What it returns, and `ok`; or `otherwise`, and why the hot store tells nothing."""
        left_s = max(_LEAST_S, min(STORE_DEADLINE_S, self._left_s()))
        try:
            async with asyncio.timeout(left_s):
                return await asking, "ok"
        except TimeoutError:
            return otherwise, f"away: no answer within {left_s:.1f} s"
        except StoreUnavailable as error:
            return otherwise, f"away: {without_addresses(error)}"

    def _left_s(self) -> float:
        now_s = asyncio.get_running_loop().time()
        if self._until_s is None:
            self._until_s = now_s + DEADLINE_S
        return max(0.0, self._until_s - now_s)


def refuse(error: Exception) -> NoReturn:
    """Raises the answer to an error of control."""
    told = cut(foreign_text(str(error), _LONGEST_TOLD + 1), _LONGEST_TOLD)
    match error:
        case Unknown():
            raise HTTPException(404, told) from None
        case UnknownConfigWorker() | UnknownConfigKey():
            near = f"; did you mean {' or '.join(error.near)}?" if error.near else ""
            raise HTTPException(404, f"{told}{near}") from None
        case CannotRun():
            raise HTTPException(409, told) from None
        case WrongChange():
            raise RequestValidationError(
                [_wrong(field, message) for field, message in error.errors]
            ) from None
        case WrongConfigValue():
            raise RequestValidationError([_wrong("value", told)]) from None
        case _:
            raise error


def _wrong(field: str, message: str) -> dict[str, object]:
    return {"type": "value_error", "loc": ("body", field), "msg": message}
